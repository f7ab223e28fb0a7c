"""From encoded bytes to an RGB picture, with one documented outcome for every kind of file.

JPEG (grayscale or YCbCr/RGB, baseline or progressive) goes through torchvision's libjpeg-turbo
with the accurate DCT; everything else (PNG, WebP, CMYK JPEG, …) through Pillow's `convert("RGB")`:
transparency is dropped, palettes are looked up, 16-bit samples keep their high byte. EXIF
orientation is ignored, as the reference does. The extension plays no part: a PNG called .jpg is a
PNG.
"""

import io
import warnings

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torchvision.io import ImageReadMode, decode_jpeg

from .errors import BadSampleError

MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535
"""JPEG's own limit; scratch memory grows with the longer side, px."""

# The header is checked against MAX_PIXELS before anything is allocated; Pillow need not warn as
# well.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# Pillow's other formats are of no use here, and one of them (EPS) runs Ghostscript on the file.
_FORMATS = ("PNG", "WEBP", "JPEG", "GIF", "BMP", "PPM", "TIFF")

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))


def read_jpeg_header(data: bytes) -> tuple[int, int, int]:
    """(height, width, number of components) of a JPEG, from its frame header.

    Raises:
        BadSampleError: no frame header.
    """
    position = 2
    while position + 9 < len(data):
        marker = data[position + 1]
        # libjpeg steps over FF 00; jumping its "segment" would let it hide a larger frame from us.
        if data[position] != 0xFF or marker == 0x00:
            break
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _STANDALONE:
            position += 2
        elif marker in _START_OF_FRAME:
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            return height, width, data[position + 9]
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise BadSampleError("not a JPEG that can be read: no frame header")


def decode_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture.

    Returns:
        (H, W, 3) uint8, contiguous.

    Raises:
        BadSampleError: empty, damaged, of an unknown kind, over `max_pixels` or `MAX_SIDE`.
    """
    if not data:
        raise BadSampleError("the file is empty")
    if data[:2] == b"\xff\xd8":
        height, width, components = read_jpeg_header(data)
        _check_pixels(height, width, max_pixels)
        if components in (1, 3):
            return _decode_jpeg(data)
    return _decode_with_pillow(data, max_pixels)


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise BadSampleError(f"{width}x{height} is over the limit of {max_pixels} pixels")
    if max(height, width) > MAX_SIDE:
        raise BadSampleError(f"{width}x{height} is over the limit of {MAX_SIDE} pixels a side")
    if height * width == 0:
        raise BadSampleError(f"the header says {width}x{height} pixels")


def _decode_jpeg(data: bytes) -> np.ndarray:
    try:
        pixels = decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB
        )
    except RuntimeError as error:
        raise BadSampleError(f"damaged JPEG: {str(error).splitlines()[0]}") from error
    assert isinstance(pixels, torch.Tensor)  # a list comes only of a list
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _decode_with_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_pixels(image.height, image.width, max_pixels)
            if image.mode.startswith("I;16"):
                # convert("RGB") would clip 16 bits at 255.
                gray = (np.asarray(image) >> 8).astype(np.uint8)
                return np.repeat(gray[:, :, None], 3, axis=2)
            image.info.pop("transparency", None)  # to be dropped, which convert() would warn of
            return np.array(image.convert("RGB"))
    except BadSampleError:
        raise
    except UnidentifiedImageError as error:  # its own message holds an address of memory
        raise BadSampleError("cannot be decoded: no picture of a known kind") from error
    except Exception as error:
        # Pillow's plugins raise nearly every type on damaged input (SyntaxError and struct.error
        # among them).
        raise BadSampleError(f"cannot be decoded: {error}") from error
