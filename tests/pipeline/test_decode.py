"""One documented outcome for every kind of picture that can be read."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb, read_jpeg_header

Encode = Callable[..., bytes]


@pytest.fixture(scope="module")
def picture(draw_picture: Callable[[int, int, int], np.ndarray]) -> np.ndarray:
    return draw_picture(3, 51, 70)


def _pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _assert_like_pillow(data: bytes) -> None:
    pixels = decode_rgb(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    difference = np.abs(pixels.astype(int) - _pillow(data))
    # The fast DCT, or upsampling by repetition, would be over 0.5.
    assert difference.mean() < 0.1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}], ids=str)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg(picture: np.ndarray, encode: Encode, subsampling: str, options: dict) -> None:
    _assert_like_pillow(encode(picture, quality=90, subsampling=subsampling, **options))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpeg_of_other_colours(picture: np.ndarray, encode: Encode, mode: str) -> None:
    _assert_like_pillow(encode(Image.fromarray(picture).convert(mode), quality=90))


def test_exif_orientation_is_ignored(picture: np.ndarray, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    for format in ("JPEG", "PNG"):
        turned = decode_rgb(encode(picture, format, exif=exif))
        assert np.array_equal(turned, decode_rgb(encode(picture, format)))
        assert turned.shape == picture.shape


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_are_exact(picture: np.ndarray, encode: Encode, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    assert np.array_equal(decode_rgb(encode(picture, format, **options)), picture)


def test_lossy_webp_and_gif(picture: np.ndarray, encode: Encode) -> None:
    _assert_like_pillow(encode(picture, "WEBP"))
    _assert_like_pillow(encode(picture, "GIF"))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_dropped(picture: np.ndarray, encode: Encode, format: str) -> None:
    alpha = np.arange(picture[..., 0].size, dtype=np.uint8).reshape(*picture.shape[:2], 1)
    data = encode(
        np.concatenate([picture, alpha], axis=2),
        format,
        **({"lossless": True, "exact": True} if format == "WEBP" else {}),
    )
    assert np.array_equal(decode_rgb(data), picture)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(200))], ids=["no", "one", "table"])
def test_palettes_are_looked_up(
    picture: np.ndarray, encode: Encode, transparency: int | bytes | None
) -> None:
    image = Image.fromarray(picture).quantize(200)
    options = {} if transparency is None else {"transparency": transparency}
    pixels = decode_rgb(encode(image, "PNG", **options))
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def test_gray_pngs_have_three_equal_channels(picture: np.ndarray, encode: Encode) -> None:
    gray = picture[..., 0]
    bits = Image.fromarray(gray > 128)
    with_alpha = Image.fromarray(np.stack([gray, gray.T.reshape(gray.shape)], axis=2))
    for image, wanted in ((gray, gray), (with_alpha, gray), (bits, (gray > 128) * 255)):
        pixels = decode_rgb(encode(image, "PNG"))
        assert np.array_equal(pixels, np.repeat(wanted[..., None], 3, axis=2))


def test_16_bit_gray_keeps_its_high_byte(encode: Encode) -> None:
    values = np.arange(0, 65_536, 37, dtype=np.uint16)[: 42 * 42].reshape(42, 42)
    for format in ("PNG", "TIFF"):
        pixels = decode_rgb(encode(values, format))
        assert np.array_equal(pixels, np.repeat((values >> 8)[..., None], 3, axis=2))


def test_16_bit_colours_keep_their_high_byte() -> None:
    values = np.random.default_rng(0).integers(0, 65_536, (5, 7, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    assert np.array_equal(decode_rgb(data), values >> 8)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (10, 16_000), (16_000, 10)], ids=str)
def test_extreme_shapes(encode: Encode, format: str, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), (200, 100, 50), np.uint8)
    decoded = decode_rgb(encode(pixels, format))
    assert decoded.shape == pixels.shape
    assert np.abs(decoded.astype(int) - pixels).max() <= 4


def test_20000_by_10(encode: Encode) -> None:
    assert decode_rgb(encode(np.zeros((10, 20_000, 3), np.uint8))).shape == (10, 20_000, 3)


def test_jpeg_header(picture: np.ndarray, encode: Encode) -> None:
    data = encode(picture, progressive=True, comment=b"x" * 3000)
    assert read_jpeg_header(data) == (51, 70, 3)
    gray = encode(picture[..., 0])
    assert read_jpeg_header(gray) == (51, 70, 1)
    # Any number of fill bytes may stand before a marker.
    assert read_jpeg_header(gray[:2] + b"\xff" * 9 + gray[2:]) == (51, 70, 1)


def test_the_arrays_are_the_callers_own(picture: np.ndarray, encode: Encode) -> None:
    for data in (encode(picture), encode(picture, "PNG")):
        pixels = decode_rgb(data)
        pixels[:] = 0
        assert decode_rgb(data).any()
