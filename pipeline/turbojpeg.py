"""libjpeg-turbo's own library: where it is found, one call from Python, and those for numba.

It takes the plain case alone, a grayscale or colour JPEG that decodes without a single warning.
All others (CMYK, truncated, damaged, over the limit, not a JPEG at all) are left to
`decode.decode_rgb`, and there to Pillow, so that every engine has the same outcome for every kind
of file. The accurate DCT is asked for by name: it costs nothing, and the fast one, which FFCV's
own decoder has built in, differs from Pillow by 1.13 of 255 on average, not 0.17.
"""

import ctypes
import os
import sys
import threading
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import llvmlite.binding
import numpy as np
from numba import types

from .errors import UserError

TJPF_RGB = 0
TJFLAG_ACCURATEDCT = 4096
TJCS_CMYK, TJCS_YCCK = 3, 4
"""Of turbojpeg.h, unchanged since version 1.4."""

_VARIABLE = "TURBOJPEG_LIBRARY"
_NAMES = ("libturbojpeg.so.0", "libturbojpeg.so", "libturbojpeg.dylib")
_FOLDERS = ("lib", "lib64")
_REMEDY = (
    "sudo apt-get install -y libturbojpeg0 (Fedora: dnf install turbojpeg; conda: "
    f"libjpeg-turbo), or name the file in the variable {_VARIABLE}"
)

# Pointers are plain integers here: compiled code gets them as numbers, and the machine's calling
# conventions treat the two alike. The names are our own, so that no other library's are found.
_SIGNATURES = {
    "tjDecompressHeader3": types.intc(types.uintp, types.uintp, types.ulong, *[types.uintp] * 4),
    "tjDecompress2": types.intc(
        types.uintp, types.uintp, types.ulong, types.uintp, *[types.intc] * 5
    ),
}
_DECOMPRESS_ARGUMENTS = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    *[ctypes.c_int] * 5,
]
read_header = types.ExternalFunction(
    "swiftsiam_tjDecompressHeader3", _SIGNATURES["tjDecompressHeader3"]
)
"""(decoder, data, length, &width, &height, &subsampling, &colour space) → 0, or -1.

The four results are int32. For compiled code, after `load_library`.
"""
decompress = types.ExternalFunction("swiftsiam_tjDecompress2", _SIGNATURES["tjDecompress2"])
"""(decoder, data, length, out, width, bytes a row, height, pixel format, flags) → 0, or -1.

-1 also after a mere warning, such as for a file that ends early. A picture larger than `width` by
`height` is refused, so `out` is never overrun. For compiled code, after `load_library`.
"""


def load_library() -> ctypes.CDLL:
    """Find libturbojpeg and make its functions known to compiled code.

    Raises:
        UserError: it is not installed; names the remedy.
    """
    named = os.environ.get(_VARIABLE)
    found = _search(named)
    if isinstance(found, ctypes.CDLL):
        return found
    tried = f"{_VARIABLE}={named}: {found}" if named else "it is in none of the usual places"
    raise UserError(f"loader.engine=ffcv needs libturbojpeg, and {tried}; {_REMEDY}")


@cache  # a miss as well, or each picture would cost a search of the machine
def _search(named: str | None) -> ctypes.CDLL | str:
    """The library at this path, or in the usual places; or what went wrong with the first."""
    failures = []
    for path in [named] if named else _candidates():
        try:
            library = ctypes.CDLL(path)
            addresses = {
                name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value
                for name in _SIGNATURES
            }
        except (OSError, AttributeError) as error:
            failures.append(str(error))
            continue
        for name, address in addresses.items():
            llvmlite.binding.add_symbol(f"swiftsiam_{name}", address)
        library.tjInitDecompress.restype = ctypes.c_void_p
        library.tjDestroy.argtypes = [ctypes.c_void_p]
        library.tjDecompress2.argtypes = _DECOMPRESS_ARGUMENTS
        return library
    return failures[0]


def is_installed() -> bool:
    """Whether `load_library` finds it."""
    try:
        load_library()
    except UserError:
        return False
    return True


def _candidates() -> list[str]:
    """Where it may be: as the linker finds it, then in this Python's own prefix (conda)."""
    found = find_library("turbojpeg")
    prefixes = [Path(sys.prefix), Path("/opt/libjpeg-turbo")]
    folders = [prefix / name for prefix in prefixes for name in _FOLDERS]
    return [
        *([found] if found else []),
        *_NAMES,
        *(str(folder / name) for folder in folders for name in _NAMES),
    ]


class Decoder:
    """One decoder's state; never used by two threads at a time."""

    def __init__(self) -> None:
        self._library = load_library()
        handle = self._library.tjInitDecompress()
        if not handle:
            raise MemoryError("libturbojpeg could not make a decoder")
        self.handle: int = handle
        """For `read_header` and `decompress`."""

    def decode(self, data: bytes, *, height: int, width: int) -> np.ndarray | None:
        """Decode a JPEG whose frame header says `height` by `width`. Releases the GIL.

        A half, quarter or eighth of these, rounded up, has it decoded at that size.

        Returns:
            (H, W, 3) uint8; None after any error, and after a mere warning.
        """
        pixels = np.empty((height, width, 3), np.uint8)
        failed = self._library.tjDecompress2(
            self.handle,
            data,
            len(data),
            pixels.ctypes.data,
            width,
            3 * width,
            height,
            TJPF_RGB,
            TJFLAG_ACCURATEDCT,
        )
        return None if failed else pixels

    def __del__(self) -> None:
        if handle := getattr(self, "handle", None):
            self._library.tjDestroy(handle)


_local = threading.local()


def decode(data: bytes, *, height: int, width: int) -> np.ndarray | None:
    """`Decoder.decode` with this thread's own decoder, which lives as long as the thread.

    Raises:
        UserError: libturbojpeg is not installed.
    """
    decoder: Decoder | None = getattr(_local, "decoder", None)
    if decoder is None:
        decoder = _local.decoder = Decoder()
    return decoder.decode(data, height=height, width=width)
