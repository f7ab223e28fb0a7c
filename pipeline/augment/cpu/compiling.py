"""How the parts of the kernel are compiled; the entry point is as all others, `..compiling`."""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from numba import njit

kernel = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""A part of the entry point, `kernel.augment_view`, which alone is called from Python and cached on
disk. Without the wrappers the whole compiles a quarter faster."""

inlined = njit(
    error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)
