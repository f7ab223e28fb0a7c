"""JPEG: what its headers say, and its pixels.

libturbojpeg decodes where it is installed. What it does not decode without a warning, and every
JPEG on a machine without it, Pillow decodes: the same library inside, with the same accurate DCT
and fancy upsampling, and so the same bits. Pillow alone judges a damaged file, so that the outcome
does not depend on what is installed: a file that ends early, or breaks off, cannot be read; other
damage that libjpeg repairs goes unnoticed, as it does in every reader of JPEGs. Of 6,000 damaged
files each had the same outcome and the same pixels with and without libturbojpeg (2.1.5, against
Pillow's 3.2.0).
"""

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import JpegImagePlugin

from . import turbojpeg
from .errors import BadSampleError
from .pillow import as_rgb, quiet

SOI, EOI = b"\xff\xd8", b"\xff\xd9"

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_JFIF, _ADOBE, _COMMENT = 0xE0, 0xEE, 0xFE
_FRAME = struct.Struct(">BHHB")
_IGNORED = frozenset(range(0xE0, 0xF0)) - {_JFIF, _ADOBE} | {_COMMENT}


class Frame(NamedTuple):
    """A JPEG's frame header."""

    height: int
    width: int
    components: int
    precision: int
    """Bits of a sample."""
    headers: bytes
    """All in front of it, without what does not bear on the pixels: EXIF, profiles, comments."""
    position: int
    """Where it begins."""
    marker: int
    """Its kind: 0xC0 baseline, 0xC2 progressive, …"""


def read_frame(data: bytes) -> Frame:
    """Walk through the headers to the frame header.

    Raises:
        BadSampleError: there is none.
    """
    kept = [SOI]
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
            precision, height, width, components = _FRAME.unpack_from(data, position + 4)
            headers = b"".join(kept)
            return Frame(height, width, components, precision, headers, position, marker)
        else:
            end = position + 2 + (data[position + 2] << 8 | data[position + 3])
            if marker not in _IGNORED:
                kept.append(data[position:end])
            position = end
    raise BadSampleError("not a JPEG that can be read: no frame header")


def choose_reduction(frame: Frame, least: int) -> int:
    """By how much a picture is decoded smaller: 1, 2, 4 or 8.

    Args:
        frame: of `read_frame`.
        least: the longer side is to keep at least so many px.
    """
    return next((n for n in (8, 4, 2) if max(frame.height, frame.width) // n >= least), 1)


def decode_jpeg(data: bytes, frame: Frame, *, reduction: int = 1) -> np.ndarray:
    """Decode a JPEG whose size has been found acceptable.

    Args:
        data: the file.
        frame: of `read_frame`.
        reduction: 2, 4 or 8: both sides are divided by it, rounded up, within the inverse DCT,
            which saves most of the work.

    Returns:
        (H, W, 3) uint8, contiguous.

    Raises:
        BadSampleError: damaged, or of a kind that has no 8-bit meaning.
    """
    if frame.precision != 8:
        raise BadSampleError(f"a JPEG of {frame.precision} bits a sample; only 8 can be decoded")
    if frame.components in (1, 3) and turbojpeg.is_installed():
        height, width = -(-frame.height // reduction), -(-frame.width // reduction)
        pixels = turbojpeg.decode(data, height=height, width=width)
        if pixels is not None:
            return pixels
    return _decode_with_pillow(data, frame, reduction)


def _decode_with_pillow(data: bytes, frame: Frame, reduction: int) -> np.ndarray:
    if data.rfind(EOI) < frame.position:  # Pillow does without where any junk follows the pixels
        raise BadSampleError("damaged JPEG: it ends early, without an end marker")
    # Pillow's parser would go into EXIF and the like, and refuse a picture for what is in them.
    # Its class for plain JPEGs is named here, since `Image.open` takes some for MPO, and warns.
    file = io.BytesIO(frame.headers + data[frame.position :])
    try:
        with quiet(), JpegImagePlugin.JpegImageFile(file) as image:
            if reduction > 1:
                image.draft(None, (frame.width // reduction, frame.height // reduction))
            return as_rgb(image)
    except Exception as error:  # nearly every type, see `pillow`
        raise BadSampleError(f"damaged JPEG: {error}") from error
