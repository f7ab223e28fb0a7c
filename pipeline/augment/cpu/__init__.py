"""The CPU kernel: one view in one compiled call, in 16-bit fixed point."""

from .kernel import augment_view, make_constants
from .scratch import Scratch, make_scratch
from .view_kernel import ViewKernel, as_pixels, check_spec

__all__ = [
    "Scratch",
    "ViewKernel",
    "as_pixels",
    "augment_view",
    "check_spec",
    "make_constants",
    "make_scratch",
]
