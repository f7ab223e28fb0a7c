"""Pillow's part in decoding: pictures to 8-bit RGB, and no warnings that name no file."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import BadSampleError

# JPEG is not among them: see `jpeg`. Pillow's other formats are of no use here, and one of them
# (EPS) runs Ghostscript on the file.
_FORMATS = ("PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")

# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


class _ThisThread(threading.local):
    """Stands where a warning filter has its pattern: matches in threads that are to be quiet."""

    is_quiet = False

    def match(self, text: str) -> bool:
        return self.is_quiet


_this_thread = _ThisThread()
_FILTER: Any = ("ignore", _this_thread, Warning, None, 0)
_lock = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings from this thread, and with those from all others as before.

    `warnings.catch_warnings` would swap the filters of all threads, and leave the wrong ones when
    two threads' blocks overlap. A filter that stays, and ignores nothing outside, does not.
    """
    if warnings.filters[:1] != [_FILTER]:  # somebody has put another one in front
        with _lock:
            filters: Any = warnings.filters
            if _FILTER in filters:
                filters.remove(_FILTER)
            filters.insert(0, _FILTER)
    _this_thread.is_quiet = True
    try:
        yield
    finally:
        _this_thread.is_quiet = False


def decode_with_pillow(data: bytes, *, check_size: Callable[[int, int], None]) -> np.ndarray:
    """Decode the first picture of a file that is no JPEG.

    Args:
        data: the file.
        check_size: (height, width) → raises if that is too large; called before any pixel is made.

    Returns:
        (H, W, 3) uint8, contiguous.

    Raises:
        BadSampleError: damaged, of an unknown kind, or of one that has no 8-bit meaning.
    """
    try:
        with quiet(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.height, image.width)
            return as_rgb(image)
    except BadSampleError:
        raise
    except UnidentifiedImageError as error:  # its own message holds an address of memory
        raise BadSampleError("cannot be decoded: no picture of a known kind") from error
    except Exception as error:
        # Pillow's plugins raise nearly every type on damaged input (SyntaxError and struct.error
        # among them).
        raise BadSampleError(f"cannot be decoded: {error}") from error


def as_rgb(image: Image.Image) -> np.ndarray:
    """The table of `decode`, by Pillow's mode.

    Args:
        image: as opened.

    Returns:
        (H, W, 3) uint8, contiguous.

    Raises:
        BadSampleError: samples that have no 8-bit meaning.
    """
    tags: Any = getattr(image, "tag_v2", {})  # read one by one: others may be damaged
    is_float = image.mode == "F"
    if is_float or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floating-point" if is_float else "signed or 32-bit"
        raise BadSampleError(f"{kind} samples, which have no defined brightness in 8 bits")
    if any(form != _UNSIGNED for form in tags.get(_SAMPLE_FORMAT, ())):  # signed bytes, as mode L
        raise BadSampleError("signed samples, which have no defined brightness in 8 bits")
    if image.mode.startswith("I"):
        gray = _deep_gray(image, tags)
        return np.repeat(gray[:, :, None], 3, axis=2)
    image.info.pop("transparency", None)  # to be dropped, which convert() would warn of
    return np.array(image.convert("RGB"))


def _deep_gray(image: Image.Image, tags: Any) -> np.ndarray:
    """Gray of more than 8 bits, which `convert("RGB")` would clip at 255.

    Args:
        image: of mode I;16 or I.
        tags: of a TIFF; empty for others.

    Returns:
        (H, W) uint8.
    """
    values = np.asarray(image)
    if image.format == "PPM":
        # Pillow has scaled maxval to 65,535. For no maxval does rounding twice make a difference.
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    (bits,) = tags.get(_BITS_PER_SAMPLE, (16,))
    gray = (values >> (bits - 8)).astype(np.uint8)
    return ~gray if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else gray
