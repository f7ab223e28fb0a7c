"""The crops in plain torch: the same arithmetic as the kernel, on any device.

A gather for each pair of taps, so that nothing depends on the size of windows, and no product of
matrices, which may round to TF32.
"""

import torch

from .windows import (
    HEIGHT,
    LEFT,
    OFFSET_LEFT,
    OFFSET_TOP,
    PICTURE_WIDTH,
    RESIZED_HEIGHT,
    RESIZED_WIDTH,
    START,
    TOP,
    WIDTH,
)

_PIXELS_AT_ONCE = 2**20  # of crops; bounds the memory for addresses


def torch_crops(
    pixels: torch.Tensor, table: torch.Tensor, *, size: int, max_taps: int
) -> torch.Tensor:
    """As `make_crops`; `table` is on the device of the pixels."""
    crops = torch.empty((len(table), size, size, 3), dtype=torch.uint8, device=pixels.device)
    num_views = max(1, _PIXELS_AT_ONCE // size**2)
    for first in range(0, len(table), num_views):
        part = table[first : first + num_views]
        crops[first : first + num_views] = _crop(pixels, part, size, max_taps)
    return crops


def _crop(pixels: torch.Tensor, table: torch.Tensor, size: int, max_taps: int) -> torch.Tensor:
    """(N, size, size, 3) float32, to be truncated: half is added."""
    columns = table[..., None].unbind(1)
    rows, row_weights = _find_taps(
        columns[HEIGHT], columns[RESIZED_HEIGHT], columns[OFFSET_TOP], size, max_taps
    )
    places, place_weights = _find_taps(
        columns[WIDTH], columns[RESIZED_WIDTH], columns[OFFSET_LEFT], size, max_taps
    )
    # Bytes from the first on; a row is 3 * the picture's width.
    rows = columns[START] + 3 * (columns[TOP] + rows) * columns[PICTURE_WIDTH]
    places = 3 * (columns[LEFT] + places)
    triples = pixels.unfold(0, 3, 1)  # a view: from each byte on, three
    total = torch.full((), 0.5, device=pixels.device)
    for row, row_weight in zip(rows, row_weights, strict=True):
        line = torch.zeros((), device=pixels.device)
        for place, place_weight in zip(places, place_weights, strict=True):
            red_at = row[:, :, None] + place[:, None, :]
            line = line + place_weight[:, None, :, None] * triples[red_at]
        total = total + row_weight[:, :, None, None] * line
    return total


def _find_taps(
    extent: torch.Tensor, resized: torch.Tensor, skip: torch.Tensor, size: int, max_taps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis: positions within the window and their weights, each (max_taps, N, size).

    Args:
        extent, resized, skip: (N, 1) int64, px: the window, its size resized, the first output.
    """
    scale = extent.float() / resized
    support = scale.clamp(min=1)
    outputs = torch.arange(size, device=extent.device)
    center = (skip + outputs + 0.5) * scale
    low = (center - support + 0.5).clamp(min=0).long()
    taps = low + torch.arange(max_taps, device=extent.device)[:, None, None]
    weights = (1 - (taps + 0.5 - center).abs() / support).clamp(min=0)
    weights = torch.where(taps < extent, weights, 0)
    return taps.minimum(extent - 1), weights / weights.sum(0)
