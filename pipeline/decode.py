"""From encoded bytes to an RGB picture, with one documented outcome for every kind of file.

The kind is told by the bytes; the extension plays no part. On every engine:

    kind of file                              outcome
    JPEG, 8 bits, gray or three colours       its pixels: accurate DCT, fancy upsampling
      progressive, arithmetic, restarts, …    the same; lossless too, if Pillow's libjpeg can
      of 12 or 16 bits a sample               bad sample
      CMYK, YCCK                              Pillow's RGB, without the profile
      with anything behind its end            without it (an MPO: the first picture)
      that ends early                         bad sample
    gray, 1 to 8 bits; palettes               255 is white; looked up
    gray, 16 bits: PNG, TIFF                  the high byte; PNG's sBIT changes nothing, as the
                                              samples of a proper PNG fill all bits; TIFF's
                                              WhiteIsZero inverts
    gray, 12 bits: TIFF                       the high 8 of the 12 bits
    gray or colours, any maxval: PGM, PPM     maxval is 255: to the nearest level
    colours, 16 bits: PNG, TIFF               the high byte
    float, 32-bit, or signed: TIFF, PFM       bad sample: no defined brightness
    transparency                              dropped, whatever is below it shows
    several frames: APNG, GIF, TIFF, WebP     the first; of an APNG the default image, the one
                                              that readers without animation show
    EXIF orientation, gamma, colour profiles  ignored, as the reference does
    empty, damaged, another kind, too large   bad sample

12-bit values in the low bits of a 16-bit PNG or TIFF come out nearly black: nothing in the file
tells them from a dark picture. docs/pictures.md has this for users.
"""

from functools import partial

import numpy as np

from .errors import BadSampleError
from .jpeg import SOI, choose_reduction, decode_jpeg, read_frame
from .pillow import decode_with_pillow

MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535
"""JPEG's own limit; scratch memory grows with the longer side, px."""


def read_jpeg_header(data: bytes) -> tuple[int, int, int]:
    """(height, width, number of components) of a JPEG, from its frame header.

    Raises:
        BadSampleError: no frame header.
    """
    frame = read_frame(data)
    return frame.height, frame.width, frame.components


def decode_rgb(
    data: bytes, *, max_pixels: int = MAX_PIXELS, least: int | None = None
) -> np.ndarray:
    """Decode a picture. May be called by many threads at a time.

    Args:
        data: the file.
        max_pixels: height times width at most.
        least: of a picture that will be made smaller: a JPEG may come at a half, quarter or eighth
            of its size, as long as its longer side has so many px. It is decoded so much faster.

    Returns:
        (H, W, 3) uint8, contiguous.

    Raises:
        BadSampleError: empty, damaged, of an unknown kind, over `max_pixels` or `MAX_SIDE`, or
            without an 8-bit meaning.
    """
    if not data:
        raise BadSampleError("the file is empty")
    if data[:2] == SOI:
        frame = read_frame(data)
        check_pixels(frame.height, frame.width, max_pixels=max_pixels)
        reduction = 1 if least is None else choose_reduction(frame, least)
        return decode_jpeg(data, frame, reduction=reduction)
    return decode_with_pillow(data, check_size=partial(check_pixels, max_pixels=max_pixels))


def check_pixels(height: int, width: int, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raises BadSampleError where a picture of this size is not to be decoded."""
    if height * width > max_pixels:
        raise BadSampleError(f"{width}x{height} is over the limit of {max_pixels} pixels")
    if max(height, width) > MAX_SIDE:
        raise BadSampleError(f"{width}x{height} is over the limit of {MAX_SIDE} pixels a side")
    if height * width == 0:
        raise BadSampleError(f"the header says {width}x{height} pixels")
