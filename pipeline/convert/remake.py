"""Pictures that are not kept as they are: turned, made smaller, encoded anew, or rewritten."""

import ctypes
import io

import numpy as np
from PIL import Image

from .. import turbojpeg
from ..decode import decode_rgb
from ..errors import BadSampleError
from ..pillow import quiet
from ..sources.manifest import PNG
from .contract import Options

_ORIENTATION = 0x0112
_TURNS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
"""By the orientation of EXIF: what makes the picture upright."""


def read_orientation(data: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where there is none or it cannot be read."""
    try:
        with quiet(), Image.open(io.BytesIO(data)) as image:
            found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's plugins raise nearly every type, and EXIF is often damaged
        return 1
    return found if found in _TURNS else 1


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) uint8 as it is to be looked at."""
    make_upright = _TURNS.get(orientation)
    return np.ascontiguousarray(make_upright(pixels)) if make_upright else pixels


def shrink(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """(H, W, 3) uint8 whose longer side has `max_side` px; as it is where it has no more.

    By Pillow's Hamming filter: at the cost of the bilinear one (two thirds of the bicubic one's)
    it stays as close to the bicubic one as OpenCV's area filter does (1.2 against 1.1 of 255 on
    average, photographs of 500 px to 256).
    """
    height, width = pixels.shape[:2]
    if max(height, width) <= max_side:
        return pixels
    scale = max_side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.HAMMING))


def decode_to(data: bytes, max_side: int | None) -> np.ndarray:
    """(H, W, 3) uint8 for `shrink`.

    A JPEG is decoded smaller as long as twice the pixels are left on each side that `shrink` is to
    make: what its filter does decides the result then. Twelve million pixels to 256 on the longer
    side take a fifth of the time.
    """
    return decode_rgb(data, least=max_side and 2 * max_side)


def raw_pixels(data: bytes, options: Options) -> np.ndarray:
    """(H, W, 3) uint8: a picture with all changes that the options ask for."""
    pixels = decode_to(data, options.max_side)
    if options.apply_exif:
        pixels = turn(pixels, read_orientation(data))
    return pixels if options.max_side is None else shrink(pixels, options.max_side)


def encode(pixels: np.ndarray, kind: int, *, quality: int) -> bytes:
    """(H, W, 3) uint8 as a PNG or JPEG file."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == PNG:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("x", "y", "width", "height")]


class _Transform(ctypes.Structure):
    """tjtransform of turbojpeg.h."""

    _fields_ = [
        ("region", _Region),
        ("operation", ctypes.c_int),
        ("options", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("custom_filter", ctypes.c_void_p),
    ]


def normalise(data: bytes) -> bytes | None:
    """Rewrite a progressive JPEG as a baseline one of the same coefficients.

    Such files decode about three times as fast, and hardware takes them.

    Returns:
        The file; None where that fails, or where it would not decode to the same pixels.

    Raises:
        UserError: libturbojpeg is not installed.
    """
    library = turbojpeg.load_library()
    library.tjInitTransform.restype = ctypes.c_void_p
    library.tjFree.argtypes = [ctypes.c_void_p]
    # A handle for each picture: one that ever wrote a progressive file writes damaged ones.
    handle = ctypes.c_void_p(library.tjInitTransform())
    out, size, change = ctypes.c_void_p(), ctypes.c_ulong(0), _Transform()
    try:
        failed = library.tjTransform(
            handle,
            ctypes.c_char_p(data),
            ctypes.c_ulong(len(data)),
            1,
            ctypes.byref(out),
            ctypes.byref(size),
            ctypes.byref(change),
            0,
        )
        made = b"" if failed else ctypes.string_at(out, size.value)
    finally:
        library.tjFree(out)
        library.tjDestroy(handle)
    try:
        is_same = bool(made) and np.array_equal(decode_rgb(made), decode_rgb(data))
    except BadSampleError:
        return None
    return made if is_same else None
