"""JPEGs by libturbojpeg and by Pillow: the same bits, from any thread, with no growth."""

import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline import turbojpeg
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError
from swiftsiam.pipeline.pillow import quiet

Encode = Callable[..., bytes]

OPTIONS: tuple[dict, ...] = (
    {"subsampling": "4:2:0"},
    {"subsampling": "4:4:4", "quality": 97},
    {"subsampling": "4:2:2", "progressive": True},
    {"subsampling": "4:2:0", "progressive": True},
    {"restart_marker_blocks": 3},
    {"keep_rgb": True},
    {"mode": "L"},
)

GROWTH = """
import sys, threading
from pathlib import Path
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError

whole = sys.stdin.buffer.read()
damaged = whole[:-500] + bytes(498) + whole[-2:]

def decode(count):
    for number in range(count):
        try:
            decode_rgb((whole, whole, damaged, whole[:-500])[number % 4])
        except BadSampleError:
            pass

def decode_in_threads(count):
    for _ in range(count):
        thread = threading.Thread(target=decode, args=(4,))
        thread.start()
        thread.join()

def anonymous():  # pages of libraries come and go with other processes
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

decode(200)
decode_in_threads(30)
before = anonymous()
decode(2000)
decode_in_threads(200)
print(anonymous() - before)
"""


@pytest.fixture(scope="module")
def jpegs(encode: Encode, draw_picture: Callable[[int, int, int], np.ndarray]) -> list[bytes]:
    """Of every kind that libturbojpeg takes; sides that are no multiples of a block's."""
    files = []
    for seed, options in enumerate(OPTIONS):
        image = Image.fromarray(draw_picture(seed, 75 + seed, 93 - seed))
        mode = options.get("mode", "RGB")
        saved = {key: value for key, value in options.items() if key != "mode"}
        files.append(encode(image.convert(mode), **saved))
    return files


@pytest.fixture
def without_turbojpeg(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """() → from now on libturbojpeg is not installed."""

    def leave_out() -> None:
        monkeypatch.setenv("TURBOJPEG_LIBRARY", "/nowhere/libturbojpeg.so")
        assert not turbojpeg.is_installed()

    return leave_out


@pytest.fixture
def only_turbojpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    if not turbojpeg.is_installed():
        pytest.skip("libturbojpeg is not installed")


def outcome(data: bytes) -> np.ndarray | None:
    """The pixels, or nothing, with a reason that says nothing of the machine."""
    try:
        return decode_rgb(data)
    except BadSampleError as error:
        reason = str(error)
    assert not re.search("/|0x", reason)
    return None


def damage(data: bytes, seed: int) -> bytes:
    """Bytes changed, zeroed or taken out, or the end cut off."""
    random = np.random.default_rng(seed)
    damaged = bytearray(data)
    at = int(random.integers(2, len(data)))
    if seed % 4 == 0:
        for place in random.integers(0, len(data), 5):
            damaged[place] = random.integers(0, 256)
    elif seed % 4 == 1:
        damaged[at : at + 200] = bytes(len(damaged[at : at + 200]))
    elif seed % 4 == 2:
        del damaged[at : at + int(random.integers(1, 60))]
    else:
        del damaged[at:]
    return bytes(damaged)


@pytest.mark.usefixtures("only_turbojpeg")
def test_the_same_bits_without_libturbojpeg(
    jpegs: list[bytes], without_turbojpeg: Callable[[], None]
) -> None:
    with_it = [decode_rgb(data) for data in jpegs]
    without_turbojpeg()
    for data, pixels in zip(jpegs, with_it, strict=True):
        np.testing.assert_array_equal(decode_rgb(data), pixels)


@pytest.mark.usefixtures("only_turbojpeg")
def test_damaged_files_have_the_same_outcome_without_libturbojpeg(
    jpegs: list[bytes], without_turbojpeg: Callable[[], None]
) -> None:
    files = [damage(jpegs[seed % len(jpegs)], seed) for seed in range(280)]
    with_it = [outcome(data) for data in files]
    without_turbojpeg()
    for seed, (data, pixels) in enumerate(zip(files, with_it, strict=True)):
        np.testing.assert_array_equal(outcome(data), pixels, err_msg=f"seed {seed}")
    num_bad = sum(pixels is None for pixels in with_it)
    assert 70 < num_bad < 140  # the seventy that are cut off, and some more


def test_threads_do_not_disturb_each_other(jpegs: list[bytes]) -> None:
    files = [*jpegs, *(damage(jpegs[0], 4 * seed + 1) for seed in range(3))]
    expected = [outcome(data) for data in files]
    wrong: list[list[int]] = []

    def decode_all() -> None:
        for _ in range(20):
            same = map(np.array_equal, map(outcome, files), expected)
            wrong.append([number for number, is_same in enumerate(same) if not is_same])

    threads = [threading.Thread(target=decode_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [[]] * 160


@pytest.mark.slow
def test_memory_does_not_grow(
    encode: Encode, draw_picture: Callable[[int, int, int], np.ndarray]
) -> None:
    """Over 2,000 files, half of them damaged, and over 200 threads with a decoder each."""
    data = encode(draw_picture(1, 200, 300), quality=90)
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], input=data, capture_output=True, check=True
    )
    # A picture kept by mistake would be 180 kB, the decoders of 200 threads 1.3 MB.
    assert int(done.stdout) < 700_000


def test_pillows_warnings_are_silenced_for_nobody_else() -> None:
    begun, done = threading.Event(), threading.Event()

    def decode() -> None:
        with quiet():
            warnings.warn("of our own decoding", stacklevel=1)
            begun.set()
            done.wait()

    thread = threading.Thread(target=decode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # Begun here, so that its filter stands in front of the one that watches.
            thread.start()
            begun.wait()
            warnings.warn("of another thread", stacklevel=1)
        finally:
            done.set()
            thread.join()
        with quiet():
            pass
        warnings.warn("afterwards", stacklevel=1)
    assert [str(each.message) for each in caught] == ["of another thread", "afterwards"]
    before = len(warnings.filters)
    for _ in range(5):
        with quiet():
            pass
        warnings.simplefilter("error")
    assert len(warnings.filters) <= before + 1


@pytest.mark.parametrize(
    ("least", "size"),
    [(51, (79, 101)), (50, (40, 51)), (25, (20, 26)), (12, (10, 13)), (1, (10, 13))],
)
@pytest.mark.parametrize("options", OPTIONS)
def test_decoded_smaller_where_less_is_needed(
    draw_picture: Callable[..., np.ndarray],
    encode: Encode,
    without_turbojpeg: Callable[[], None],
    least: int,
    size: tuple[int, int],
    options: dict,
) -> None:
    settings = dict(options)
    picture = Image.fromarray(draw_picture(0, 79, 101)).convert(settings.pop("mode", "RGB"))
    data = encode(picture, **settings)
    with_turbojpeg = decode_rgb(data, least=least)
    assert with_turbojpeg.shape == (*size, 3)
    without_turbojpeg()
    np.testing.assert_array_equal(decode_rgb(data, least=least), with_turbojpeg)
    height, width = size
    expected = picture.convert("RGB").resize((width, height), Image.Resampling.BOX)
    assert np.abs(with_turbojpeg.astype(int) - np.asarray(expected)).mean() < 12
