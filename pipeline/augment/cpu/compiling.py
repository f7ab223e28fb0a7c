"""How the kernel's functions are compiled."""

import hashlib
from pathlib import Path

from numba import njit

kernel = njit(nogil=True, error_model="numpy")
"""Compiled into the entry point, `kernel.augment_view`, which alone is cached on disk."""

inlined = njit(nogil=True, error_model="numpy", forceinline=True)


def source_digest() -> str:
    """A digest of this package's sources.

    numba drops a function from its disk cache when its own file has changed, but not when one that
    it calls has, in another file. The entry point holds this digest in its closure, which is part
    of the key.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
