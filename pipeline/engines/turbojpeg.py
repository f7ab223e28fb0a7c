"""libjpeg-turbo for compiled code: the calls that numba needs, and where the library is found.

Every decision about a file is `decode.decode_rgb`'s. This decoder takes the plain case alone, a
grayscale or colour JPEG that decodes without a single warning, and leaves all others (CMYK,
truncated, damaged, over the limit, not a JPEG at all) to it, so that both have the same outcome
for every kind of file. The accurate DCT is asked for by name: it costs nothing, and the fast one,
which FFCV's own decoder has built in, differs from Pillow by 1.13 of 255 on average, not 0.17.
"""

import ctypes
import os
import sys
from ctypes.util import find_library
from functools import cache
from pathlib import Path

import llvmlite.binding
from numba import types

from ..errors import UserError

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


@cache
def load_library() -> ctypes.CDLL:
    """Find libturbojpeg and make its functions known to compiled code.

    Raises:
        UserError: it is not installed; names the remedy.
    """
    named = os.environ.get(_VARIABLE)
    candidates = [named] if named else _candidates()
    failures = []
    for path in candidates:
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
        return library
    tried = f"{_VARIABLE}={named}: {failures[0]}" if named else "it is in none of the usual places"
    raise UserError(f"loader.engine=ffcv needs libturbojpeg, and {tried}; {_REMEDY}")


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

    def __del__(self) -> None:
        if handle := getattr(self, "handle", None):
            self._library.tjDestroy(handle)
