"""The ffcv engine: the same views as everyone's, from betons and folders, on threads that end.

What holds for every engine is tested in `test_loader*.py`.
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.cpu import ViewKernel, as_pixels
from swiftsiam.pipeline.augment.sampler import PARAMS, draw_view, pack_spec
from swiftsiam.pipeline.augment.spec import AugmentConfig, AugmentSpec, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import Result
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import Source, open_source
from swiftsiam.pipeline.sources.beton_format import ALLOCATION, HEADER

pytestmark = pytest.mark.engine("ffcv", formats=("beton",))

SIZE = 24
SPECS = build_train_specs(AugmentConfig(size=SIZE))
UNIT = 1 / (255 * 0.226)
"""One of 255, normalised."""

Stream = Callable[..., list[Result]]


def make_views(
    images: dict[int, np.ndarray],
    specs: tuple[AugmentSpec, ...] = SPECS,
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    """The views of {index: picture} at epoch 0 with seed 3, by the kernel alone."""
    views = []
    for number, spec in enumerate(specs):
        shape = (len(images), spec.size, spec.size, 3)
        view = torch.empty(shape, dtype=dtype).permute(0, 3, 1, 2)
        params = np.zeros(len(images), PARAMS)
        for row, (index, image) in enumerate(images.items()):
            place = (np.uint64(3), np.uint64(0), np.int64(index), np.uint64(number))
            draw_view(pack_spec(spec)[0], *place, *image.shape[:2], params[row])
            ViewKernel(spec)(image, params, row, as_pixels(view))
        views.append(view)
    return views


def decode_all(source: Source, indices: range | None = None) -> dict[int, np.ndarray]:
    return {i: decode_rgb(source.read(i)) for i in (indices or range(len(source)))}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["raw", "shuffled"])
def test_raw_betons_give_the_kernels_views_bit_by_bit(
    betons: dict[str, Path], stream: Stream, name: str, dtype: torch.dtype
) -> None:
    source = open_source(betons[name])
    (result,) = stream(source, list(range(12)), dtype=dtype)
    assert result.index.tolist() == list(range(12))
    for view, expected in zip(
        result.views, make_views(decode_all(source), dtype=dtype), strict=True
    ):
        assert view.dtype == dtype
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(view, expected)


@pytest.mark.parametrize("name", ["jpg", "mixed"])
def test_jpegs_are_decoded_as_torchvision_does(
    betons: dict[str, Path], stream: Stream, name: str
) -> None:
    source = open_source(betons[name])
    (result,) = stream(source, list(range(12)))
    for view, expected in zip(result.views, make_views(decode_all(source)), strict=True):
        assert (view - expected).abs().mean() < 0.1 * UNIT


def test_views_of_several_sizes(betons: dict[str, Path], stream: Stream) -> None:
    source = open_source(betons["raw"])
    small = build_train_specs(AugmentConfig(size=16))[0]
    specs = (SPECS[0], small)
    (result,) = stream(source, [4, 9], specs=specs)
    expected = make_views({4: decode_rgb(source.read(4)), 9: decode_rgb(source.read(9))}, specs)
    assert all(map(torch.equal, result.views, expected))


@pytest.mark.parametrize("kind", ["folder", "jpg", "raw"])
def test_same_batches_as_the_torchvision_engine(
    betons: dict[str, Path], class_folder: Path, kind: str
) -> None:
    source = open_source(class_folder if kind == "folder" else betons[kind])
    settings = {"source": source, "specs": SPECS, "global_batch_size": 5, "train": True, "seed": 1}
    with (
        build_loader(engine="ffcv", num_workers=2, **settings) as ours,
        build_loader(engine="torchvision", **settings) as theirs,
    ):
        for _ in range(2):
            for mine, other in zip(ours, theirs, strict=True):
                assert torch.equal(mine.index, other.index)
                assert torch.equal(mine.label, other.label)
                for view, expected in zip(mine.views, other.views, strict=True):
                    assert (view - expected).abs().mean() < 0.1 * UNIT


def test_number_of_threads_changes_no_bit(betons: dict[str, Path], stream: Stream) -> None:
    source = open_source(betons["mixed"])
    batches = [[5, 1, 7, 3], [2, 2, -1, 0], [11, 10, 9, 8]]
    alone = stream(source, *batches)
    for num_workers in (1, 2, 5):
        for mine, expected in zip(
            stream(source, *batches, num_workers=num_workers), alone, strict=True
        ):
            assert mine.index.tolist() == expected.index.tolist()
            assert all(map(torch.equal, mine.views, expected.views))


def test_oracle(betons: dict[str, Path], stream: Stream) -> None:
    source = open_source(betons["mixed"])
    (kernel,) = stream(source, [3, -1, 4])
    (oracle,) = stream(source, [3, -1, 4], ops="oracle", num_workers=1)
    for view, expected in zip(kernel.views, oracle.views, strict=True):
        assert (view - expected).abs().mean() < 0.3 * UNIT
    assert not oracle.views[0][1].any()


def encode_cmyk(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def test_every_kind_of_file_as_decode_rgb_has_it(
    listed: Callable[..., Source],
    stream: Stream,
    encode: Callable[..., bytes],
    draw_picture: Callable[..., np.ndarray],
) -> None:
    picture = draw_picture(0, 60, 80)
    gray = Image.fromarray(picture).convert("L")
    jpeg = encode(picture, quality=95)
    source = listed(
        encode(gray),
        encode(picture, progressive=True),
        encode(picture, subsampling="4:4:4"),
        encode(picture, subsampling="4:2:2", restart_marker_blocks=2),
        encode_cmyk(picture),
        encode(picture, "PNG"),
        encode((np.asarray(gray).astype(np.uint16) << 8) + 3, "PNG"),
        encode(picture[:1, :1]),
        encode(np.tile(picture[:8, :8], (1, 300, 1))),
        jpeg[:-2],  # without its end
        jpeg[:-2] + b"junk" * 9 + jpeg[-2:],
    )
    (result,) = stream(source, list(range(len(source))))
    expected, reasons = {}, {}
    for index in range(len(source)):
        try:
            expected[index] = decode_rgb(source.read(index))
        except UserError as error:
            reasons[index] = str(error)
    assert {bad.index: bad.reason for bad in result.bad} == reasons
    assert all(result.index[index] == -1 for index in reasons)
    assert len(expected) >= 9
    rows = list(expected)
    for view, right in zip(result.views, make_views(expected), strict=True):
        assert (view[rows] - right).abs().amax(dim=(1, 2, 3)).max() < UNIT


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_cannot_be_decoded_is_named(
    listed: Callable[..., Source],
    stream: Stream,
    encode: Callable[..., bytes],
    draw_picture: Callable[..., np.ndarray],
    num_workers: int,
) -> None:
    good = encode(draw_picture(1, 40, 40))
    bomb = bytearray(good)
    start = good.index(b"\xff\xc0")
    bomb[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    source = listed(good, good[: len(good) // 2], b"", b"junk", bytes(bomb), good)
    everything = list(range(6))
    (left_out,) = stream(source, everything, num_workers=num_workers)
    assert left_out.index.tolist() == [0, -1, -1, -1, -1, 5]
    assert [bad.index for bad in left_out.bad] == [1, 2, 3, 4]
    assert "65535x65535 is over the limit" in left_out.bad[-1].reason
    assert not any(view[1:5].any() for view in left_out.views)
    (replaced,) = stream(source, everything, num_workers=num_workers, max_bad_samples=4)
    assert replaced.index.tolist() == [0, 5, 5, 5, 5, 5]
    assert torch.equal(replaced.views[0][1], replaced.views[0][5])


def test_a_truncated_jpeg_in_a_beton_is_named(
    betons: dict[str, Path], tmp_path: Path, stream: Stream
) -> None:
    source = open_source(betons["jpg"])
    data = bytearray(betons["jpg"].read_bytes())
    header: np.ndarray = np.frombuffer(data, HEADER, count=1)
    table = int(header["alloc_table_ptr"][0])
    allocations: np.ndarray = np.frombuffer(data, ALLOCATION, offset=table)
    allocations["size"][allocations["ptr"] == source.images["data_ptr"][7]] //= 2
    path = tmp_path / "truncated.beton"
    path.write_bytes(data)
    (result,) = stream(open_source(path), list(range(12)))
    assert [(bad.index, bad.key) for bad in result.bad] == [(7, "truncated.beton:7")]
    assert result.index.tolist() == [*range(7), -1, *range(8, 12)]


def test_large_pictures_make_the_workspace_grow(
    listed: Callable[..., Source],
    stream: Stream,
    encode: Callable[..., bytes],
    draw_picture: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from swiftsiam.pipeline.engines.ffcv import loop

    pictures = {index: draw_picture(index, 900 - index, 1300 + index) for index in range(3)}
    source = listed(*(encode(picture) for picture in pictures.values()))
    expected = make_views(decode_all(source))
    (result,) = stream(source, [0, 1, 2])
    assert all(
        (a - b).abs().mean() < 0.1 * UNIT for a, b in zip(result.views, expected, strict=True)
    )
    # Over the limit they are decoded by Python, and no thread keeps memory for them.
    monkeypatch.setattr(loop, "_LARGEST_PIXELS", 2**20)
    (result,) = stream(source, [0, 1, 2])
    assert all(map(torch.equal, result.views, expected))


def test_batches_are_the_callers_own(betons: dict[str, Path], stream: Stream) -> None:
    source = open_source(betons["raw"])
    batches = [[number % 12, (number + 5) % 12] for number in range(30)]
    kept = stream(source, *batches, num_workers=2)
    for result, indices in zip(kept, batches, strict=True):
        (again,) = stream(source, indices)
        assert all(map(torch.equal, result.views, again.views))


def test_a_beton_written_anew_is_refused(
    betons: dict[str, Path], tmp_path: Path, stream: Stream
) -> None:
    path = tmp_path / "changing.beton"
    path.write_bytes(betons["raw"].read_bytes())
    source = open_source(path)
    path.unlink()
    path.write_bytes(betons["mixed"].read_bytes())
    with pytest.raises(UserError, match="has changed since it was opened"):
        stream(source, [0])


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from swiftsiam.pipeline import turbojpeg

    monkeypatch.setenv("TURBOJPEG_LIBRARY", "/nowhere/libturbojpeg.so")
    with pytest.raises(UserError, match=r"/nowhere.*apt-get install -y libturbojpeg0"):
        turbojpeg.load_library()
    assert not turbojpeg.is_installed()
    monkeypatch.delenv("TURBOJPEG_LIBRARY")
    turbojpeg.load_library()
