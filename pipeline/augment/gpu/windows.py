"""Windows as the crop kernel wants them: each view a row of int64.

A row says where a picture lies among the pixels of many, which window of it is resized to what, and
which square of that is the crop (`sampler.PARAMS`).
"""

import math
from typing import NamedTuple

import numpy as np
import torch

_FIELDS = (
    "top",
    "left",
    "height",
    "width",
    "resized_height",
    "resized_width",
    "offset_top",
    "offset_left",
)

START, PICTURE_WIDTH, TOP, LEFT, HEIGHT, WIDTH = range(6)
RESIZED_HEIGHT, RESIZED_WIDTH, OFFSET_TOP, OFFSET_LEFT = range(6, 10)
"""Columns: the picture's first byte, its width in px, then the fields of `sampler.PARAMS`."""

NUM_COLUMNS = 2 + len(_FIELDS)


class Windows(NamedTuple):
    """The windows of a batch, and what the host has to know of all of them.

    The last two are taken on the host, so that nobody waits for a device to tell them.
    """

    table: torch.Tensor
    """(N, 10) int64; pinned where there is a GPU to copy it to."""

    max_taps: int
    """Along either axis, no pixel of a crop is the sum of more."""

    end: int
    """Bytes: no window reaches beyond."""


def pack_windows(params: np.ndarray, *, starts: np.ndarray, widths: np.ndarray) -> Windows:
    """The windows of views of pictures that lie one after another.

    Args:
        params: (N,) records of `sampler.PARAMS`; only the window, the resizing and the offset are
            looked at.
        starts: (N,) integers, each view's picture's first byte.
        widths: (N,) integers, its width in px.
    """
    table = torch.empty(
        (len(params), NUM_COLUMNS), dtype=torch.int64, pin_memory=torch.cuda.is_available()
    )
    rows = table.numpy()
    rows[:, START], rows[:, PICTURE_WIDTH] = starts, widths
    for column, name in enumerate(_FIELDS, start=TOP):
        rows[:, column] = params[name]
    assert (rows >= 0).all(), "negative places"
    extents = rows[:, [HEIGHT, WIDTH]]
    assert (extents > 0).all(), "empty windows"
    right = rows[:, LEFT] + rows[:, WIDTH]
    assert (right <= rows[:, PICTURE_WIDTH]).all(), "windows wider than their pictures"
    last_row = rows[:, TOP] + rows[:, HEIGHT] - 1
    ends = rows[:, START] + 3 * (last_row * rows[:, PICTURE_WIDTH] + right)
    scales = extents / rows[:, [RESIZED_HEIGHT, RESIZED_WIDTH]]
    taps = np.minimum(np.ceil(2 * np.maximum(scales, 1)), extents)
    return Windows(table, max_taps=math.ceil(taps.max(initial=1)), end=int(ends.max(initial=0)))
