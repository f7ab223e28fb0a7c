"""Files that cannot be read: always BadSampleError, never much memory, whatever the bytes."""

import json
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def jpeg(encode: Encode, draw_picture: Callable[[int, int, int], np.ndarray]) -> bytes:
    return encode(draw_picture(3, 40, 60), quality=85)


@pytest.fixture(scope="module")
def png(encode: Encode, draw_picture: Callable[[int, int, int], np.ndarray]) -> bytes:
    return encode(draw_picture(3, 40, 60), "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\xff\xd8", "no frame header"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (b"\xff\xd8\xff\xe0\x00\x00" * 5, "no frame header"),
        (b"not a picture at all", "cannot be decoded"),
        (bytes(1000), "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "cannot be decoded"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be decoded"),
    ],
)
def test_junk(data: bytes, reason: str) -> None:
    with pytest.raises(BadSampleError, match=reason):
        decode_rgb(data)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "CMYK"}], ids=str)
def test_truncated_jpegs(encode: Encode, jpeg: bytes, share: float, options: dict) -> None:
    from PIL import Image

    image = Image.fromarray(decode_rgb(jpeg)).convert(options.pop("mode", "RGB"))
    data = encode(image, **options)
    assert decode_rgb(data).shape == (40, 60, 3)
    with pytest.raises(BadSampleError):
        decode_rgb(data[: int(share * len(data))])


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_other_truncated_files(encode: Encode, jpeg: bytes, format: str) -> None:
    data = encode(decode_rgb(jpeg), format)
    for share in (0.02, 0.5, 0.95):
        with pytest.raises(BadSampleError):
            decode_rgb(data[: int(share * len(data))])


def _claim_jpeg(data: bytes, side: int) -> bytes:
    start = next(k for k in range(len(data)) if data[k : k + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: start + 5] + struct.pack(">HH", side, side) + data[start + 9 :]


def _claim_png(data: bytes, side: int) -> bytes:
    header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _hide_frame(bomb: bytes, harmless: bytes) -> bytes:
    """A bomb whose frame header is missed by a parser that takes FF 00, as libjpeg does not, for a
    segment's marker.

    The "segment" ends in front of the harmless frame header at the end of the file.
    """
    start = harmless.index(b"\xff\xc0")
    frame = harmless[start : start + 19]
    length = struct.pack(">H", len(bomb))
    assert 0xFF not in length
    return bomb[:2] + b"\xff\x00" + length + bomb[2:] + frame


def _make_bombs(encode: Encode, jpeg: bytes, png: bytes) -> dict[str, bytes]:
    """Headers that claim 60,000 × 60,000 pixels, 10.8 GB."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    side = 60_000
    gif, bmp = encode(pixels, "GIF"), encode(pixels, "BMP")
    return {
        "baseline": _claim_jpeg(jpeg, side),
        "progressive": _claim_jpeg(encode(pixels, progressive=True), side),
        "hidden": _hide_frame(_claim_jpeg(encode(pixels), side), encode(pixels)),
        "png": _claim_png(png, side),
        "gif": b"GIF89a" + struct.pack("<HH", side, side) + gif[10:],
        "bmp": bmp[:18] + struct.pack("<ii", side, side) + bmp[26:],
    }


_REFUSE = """
import json, sys
from pathlib import Path
from swiftsiam.pipeline import decode

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

def reached(*_, **__):
    raise AssertionError("reached libjpeg")  # an array of 10.8 GB shows only when it is written

outcomes = {}
for path in map(Path, sys.argv[1:]):
    whole, bomb = path.with_suffix(".whole").read_bytes(), path.read_bytes()
    decode.decode_rgb(whole)  # what decoding needs at all is there
    before, decode_jpeg, decode.decode_jpeg = peak(), decode.decode_jpeg, reached
    try:
        decode.decode_rgb(bomb)
        reason = ""
    except decode.BadSampleError as error:
        reason = str(error)
    decode.decode_jpeg = decode_jpeg
    outcomes[path.stem] = reason, peak() - before
print(json.dumps(outcomes))
"""


def test_bombs_are_refused_before_anything_is_allocated(
    encode: Encode, jpeg: bytes, png: bytes, tmp_path: Path
) -> None:
    bombs = _make_bombs(encode, jpeg, png)
    whole = {
        "png": png,
        "gif": encode(decode_rgb(png), "GIF"),
        "bmp": encode(decode_rgb(png), "BMP"),
    }
    for name, data in bombs.items():
        (tmp_path / f"{name}.bomb").write_bytes(data)
        (tmp_path / f"{name}.whole").write_bytes(whole.get(name, jpeg))
    # In a process of its own, whose peak is that of nothing else.
    done = subprocess.run(
        [sys.executable, "-c", _REFUSE, *sorted(tmp_path.glob("*.bomb"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert outcomes.keys() == bombs.keys()
    for name, (reason, growth) in outcomes.items():
        assert re.search("limit|exceeds|no frame header", reason), (name, reason)
        assert growth < 20e6, name


def test_the_limit_is_on_pixels_and_sides(encode: Encode, jpeg: bytes, png: bytes) -> None:
    for data in (jpeg, png):
        assert decode_rgb(data, max_pixels=2400).shape == (40, 60, 3)
        with pytest.raises(BadSampleError, match="60x40 is over the limit of 2399 pixels"):
            decode_rgb(data, max_pixels=2399)
    long = encode(np.zeros((70_000, 1), np.uint8), "PNG")
    with pytest.raises(BadSampleError, match="1x70000 is over the limit of 65535 pixels a side"):
        decode_rgb(long)
    with pytest.raises(BadSampleError):
        decode_rgb(_claim_jpeg(jpeg, 0))


def _decode_or_refuse(data: bytes) -> None:
    try:
        pixels = decode_rgb(data, max_pixels=1_000_000)
    except BadSampleError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert 0 < pixels.size <= 3_000_000
    assert pixels.flags.c_contiguous


_MAGICS = [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF89a", b"BM"]
_MAGICS += [b"II*\0", b"P6 9 9 255\n"]


@given(magic=st.sampled_from(_MAGICS), tail=st.binary(max_size=300))
@example(magic=b"\xff\xd8\xff\xc0", tail=b"\x00\x11\x08\x00\x00\x00\x00\x03\x01")
def test_random_bytes(magic: bytes, tail: bytes) -> None:
    _decode_or_refuse(magic + tail)


_damages = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=0, max_size=4)), max_size=6
)


@given(is_png=st.booleans(), damages=_damages, kept=st.floats(0, 1))
def test_damaged_files(
    jpeg: bytes, png: bytes, is_png: bool, damages: list[tuple[float, bytes]], kept: float
) -> None:
    """Bytes overwritten anywhere, half of them in the headers, and perhaps the end cut off."""
    data = bytearray(png if is_png else jpeg)
    for number, (place, junk) in enumerate(damages):
        at = int(place * (len(data) if number % 2 else 200))
        data[at : at + len(junk)] = junk
    _decode_or_refuse(bytes(data[: int(max(kept, 0.5) * len(data))]))
