"""What a picture costs in arithmetic, counted on a network without weights."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..model.method import ModelConfig, build_method

_ROWS = 2  # the least that BatchNorm takes


def count_flops(config: ModelConfig, *, num_views: int, size: int) -> int:
    """Floating-point operations of training on one picture, all views, forward and backward: those
    of convolutions and matrix products, an addition and a multiplication counted as two. ResNet-50
    at 224 px: 49 billion.

    Args:
        config: of the method.
        num_views: of a picture.
        size: side of a view, px.
    """
    with torch.device("meta"):
        model = build_method(config)
        views = tuple(torch.empty(_ROWS, 3, size, size) for _ in range(num_views))
        labels = torch.empty(_ROWS, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            model(views, labels).loss.backward()
    return counter.get_total_flops() // _ROWS
