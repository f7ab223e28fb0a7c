"""Working memory of the kernel: one per thread, sized by the largest window, not by the batch."""

import math
from typing import NamedTuple

import numpy as np

from ...stages import NO_TICKS
from .tiles import BLOCK, OUT_ROWS, STRIP_ROWS
from .vectors import LANES

_CACHE_LINE = 64  # bytes

MAX_SIGMA = 16.0
"""Largest standard deviation of the blur, px."""
BLUR_REACH = math.ceil(3 * MAX_SIGMA)
"""Most taps to each side of the blur."""
LINE_PAD = -(-BLUR_REACH // LANES) * LANES
"""Replicated pixels before and after a line to be blurred."""


class Scratch(NamedTuple):
    """What compiled code needs room for. Never used by two threads at a time."""

    max_side: int
    """Longest side of a window that fits, px."""
    columns: np.ndarray
    """(size * 3 * pitch,) uint16: the view as [x][channel][y], value * 256; pitch is size rounded
    up to 32, and the rows beyond size hold nothing of use."""
    strip: np.ndarray
    """uint16: 32 rows of the view before the horizontal filter, [y][x][channel]."""
    turned: np.ndarray
    """uint16: the same as [x][channel][y]."""
    taps: np.ndarray
    """(2, size, 3) int64: for each row (0) and column (1) of the view the first source pixel, the
    number of taps, and the position of their weights."""
    weights: np.ndarray
    """uint16: the weights of all taps, * 65536."""
    line: np.ndarray
    """(3 * (pitch + 2 * LINE_PAD),) uint16: one column, blurred along x, with replicated edges."""
    blurred: np.ndarray
    """(16 * 3 * pitch,) uint16: the columns that are written together."""
    blur_weights: np.ndarray
    """(BLUR_REACH + 1,) uint16."""
    settings: np.ndarray
    """(4, 3) int64: the numbers of the colour operations, in the drawn order."""
    ticks: np.ndarray
    """See `stages`."""


def _zeros(count: int, dtype: type[np.generic]) -> np.ndarray:
    """Zeros that begin at a cache line."""
    num_bytes = count * np.dtype(dtype).itemsize
    buffer = np.zeros(num_bytes + _CACHE_LINE, np.uint8)
    start = -buffer.ctypes.data % _CACHE_LINE
    return buffer[start : start + num_bytes].view(dtype)


def make_scratch(*, size: int, max_side: int = 4096, ticks: np.ndarray = NO_TICKS) -> Scratch:
    """Allocate the scratch of one thread.

    Args:
        size: side of the views, px, at least 8.
        max_side: longest side of a window, px; each takes 400 bytes. For larger ones `augment_view`
            returns False.
        ticks: the thread's counters, see `stages`.
    """
    assert size >= 8, size
    pitch = -(-size // LANES) * LANES
    # A row of the strip is padded to an odd number of cache lines; tiles of it are 8 elements wide.
    strip_pitch = 3 * max_side + 2 * LANES
    # A window of n px has at most 2 * max(n / size, 1) + 1 taps for each of `size` outputs.
    num_weights = 2 * (2 * max_side + 3 * size)
    return Scratch(
        max_side=max_side,
        columns=_zeros(size * 3 * pitch, np.uint16),
        strip=_zeros(STRIP_ROWS * strip_pitch, np.uint16),
        turned=_zeros(STRIP_ROWS * (3 * max_side + BLOCK), np.uint16),
        taps=np.zeros((2, size, 3), np.int64),
        weights=_zeros(num_weights, np.uint16),
        line=_zeros(3 * (pitch + 2 * LINE_PAD), np.uint16),
        blurred=_zeros(OUT_ROWS * 3 * pitch, np.uint16),
        blur_weights=_zeros(BLUR_REACH + 1, np.uint16),
        settings=np.zeros((4, 3), np.int64),
        ticks=ticks,
    )
