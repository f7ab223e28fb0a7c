"""How the kernel's functions are compiled."""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

import hashlib
from pathlib import Path

from numba import njit

kernel = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""A part of the entry point, `kernel.augment_view`, which alone is called from Python and cached on
disk. Without the wrappers the whole compiles a quarter faster."""

inlined = njit(
    error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)


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
