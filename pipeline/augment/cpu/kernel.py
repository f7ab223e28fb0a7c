"""One view from a decoded picture, in one compiled call that allocates nothing.

Arithmetic is 16-bit fixed point throughout (see `resize`); whole views differ from the oracle by
0.02 of 255 on average. No instruction of a particular CPU is used (see `vectors`).
"""

import numpy as np

from ...compiling import compiled
from ...stages import COLOUR, CROP, REST, lap
from ..spec import Normalize
from .compiling import kernel
from .finish import finish
from .resize import crop_and_resize
from .tiles import OUT_ROWS


def make_constants(normalize: Normalize) -> np.ndarray:
    """What takes a pixel (value * 256) to its normalised value, for `augment_view`.

    Returns:
        (2, 18) float32: scale and bias of interleaved channels, from any channel on.
    """
    mean, std = np.array(normalize.mean), np.array(normalize.std)
    scale_and_bias = np.stack([1 / (255 * 256 * std), -mean / std])
    return np.tile(scale_and_bias, (OUT_ROWS + 2) // 3).astype(np.float32)


@kernel
def _is_possible(image, params, size, scratch):
    """Whether the window lies within the image and the scratch, and the view within the window."""
    height, width = params.height, params.width
    return (
        params.top >= 0
        and params.left >= 0
        and height > 0
        and width > 0
        and params.top + height <= image.shape[0]
        and params.left + width <= image.shape[1]
        and params.offset_top >= 0
        and params.offset_left >= 0
        and params.offset_top + size <= params.resized_height
        and params.offset_left + size <= params.resized_width
        and image.shape[2] == 3
        and size == scratch.taps.shape[1]
        and max(height, width) <= scratch.max_side
    )


@compiled(nogil=True, error_model="numpy")
def augment_view(image, params, row, scratch, constants, out):
    """Make out[row], one view, from a picture and params[row].

    May be called from Python and from compiled code; holds no lock and allocates nothing.

    Args:
        image: (H, W, 3) uint8, C-contiguous.
        params: (N,) records of `sampler.PARAMS`.
        row: position in `params` and in `out`.
        scratch: of `make_scratch`; this thread's own.
        constants: of `make_constants`.
        out: (N, size, size, 3), C-contiguous; size at least 8. float32, or uint16 holding
            bfloat16: the whole view, normalised. uint8: crop, resize and flip alone, rounded to
            nearest.

    Returns:
        False if nothing was written, because the window exceeds the image or the scratch.
    """
    view, record = out[row], params[row]
    size = view.shape[0]
    if not _is_possible(image, record, size, scratch):
        return False
    lap(scratch.ticks, REST)
    crop_and_resize(image, record, size, scratch)
    lap(scratch.ticks, CROP)
    finish(record, size, scratch, constants, view)
    lap(scratch.ticks, COLOUR)
    return True
