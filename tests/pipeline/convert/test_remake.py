"""Pictures made smaller, turned upright, and rewritten."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from swiftsiam.pipeline.convert.remake import normalise, read_orientation, shrink, turn
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.jpeg import read_frame
from swiftsiam.pipeline.sources import open_source

from .test_verify import find


def with_orientation(picture: np.ndarray, encode: Callable, number: int, format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    options = {"exif": exif} if format == "JPEG" else {"exif": exif, "lossless": True}
    return encode(picture, format, **options)


@pytest.mark.parametrize("number", range(1, 9))
def test_turned_as_pillow_turns(
    draw_picture: Callable[..., np.ndarray], encode: Callable[..., bytes], number: int
) -> None:
    picture = draw_picture(0, 20, 30)
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = number
    data = with_orientation(picture, encode, number, "JPEG")
    assert read_orientation(data) == number
    np.testing.assert_array_equal(turn(picture, number), ImageOps.exif_transpose(image))
    assert read_orientation(data[:40]) == 1


def test_shrunk_to_the_longer_side(draw_picture: Callable[..., np.ndarray]) -> None:
    assert shrink(draw_picture(0, 300, 500), 100).shape == (60, 100, 3)
    assert shrink(draw_picture(0, 500, 3), 100).shape == (100, 1, 3)
    picture = draw_picture(0, 30, 50)
    assert shrink(picture, 50) is picture


@pytest.mark.parametrize("mode", ["smart", "raw"])
def test_max_side_and_exif(
    tmp_path: Path,
    draw_picture: Callable[..., np.ndarray],
    encode: Callable[..., bytes],
    convert_to: Callable,
    to: str,
    mode: str,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    small, large = draw_picture(0, 20, 30), draw_picture(1, 100, 50)
    files = {
        "0.jpg": encode(small),
        "1.jpg": encode(large),
        "2.png": encode(large, "PNG"),
        "3.jpg": with_orientation(small, encode, 6, "JPEG"),
        "4.webp": with_orientation(small, encode, 6, "WEBP"),
        "5.jpg": with_orientation(large, encode, 6, "JPEG"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    target = tmp_path / ("x.beton" if to == "beton" else "x")
    outcome = convert_to(folder, target, to, mode=mode, max_side=40, apply_exif=True)
    assert outcome.converted["larger than 40 px"] == 3
    assert outcome.converted["turned upright"] == 2
    source = open_source(target)
    pixels = [decode_rgb(source.read(index)) for index in range(6)]
    sizes = [(20, 30), (40, 20), (40, 20), (30, 20), (30, 20), (20, 40)]
    assert [picture.shape[:2] for picture in pixels] == sizes
    if mode == "smart":
        assert source.read(0) == files["0.jpg"]
    np.testing.assert_array_equal(pixels[4], turn(small, 6))  # lossless before, and after
    expected = turn(decode_rgb(files["3.jpg"]), 6)
    assert np.abs(pixels[3].astype(int) - expected).mean() < 5  # a quarter of it is noise
    assert find(target, source=folder, decodes=True) == []


def test_progressive_files_are_rewritten_without_loss(
    tmp_path: Path,
    draw_picture: Callable[..., np.ndarray],
    encode: Callable[..., bytes],
    convert_to: Callable,
    to: str,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    picture = draw_picture(0, 60, 70)
    progressive = encode(picture, progressive=True, quality=90)
    assert normalise(progressive[: len(progressive) // 2]) is None
    (folder / "0.jpg").write_bytes(progressive)
    (folder / "1.jpg").write_bytes(encode(picture, quality=90))
    target = tmp_path / ("x.beton" if to == "beton" else "x")
    outcome = convert_to(folder, target, to, normalise_jpeg=True)
    assert outcome.converted == {"progressive JPEG": 1}
    source = open_source(target)
    assert read_frame(progressive).marker == 0xC2
    assert read_frame(source.read(0)).marker == 0xC0
    np.testing.assert_array_equal(decode_rgb(source.read(0)), decode_rgb(progressive))
    assert source.read(1) == (folder / "1.jpg").read_bytes()
    assert find(target, source=folder) == []
