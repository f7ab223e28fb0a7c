"""What a picture costs in arithmetic, counted on a network without weights."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..model.method import Course, ModelConfig, build_method

_ROWS = 2  # the least that BatchNorm takes


def count_flops(config: ModelConfig, *, sizes: tuple[int, ...]) -> int:
    """Floating-point operations of training on one picture, all views, forward and backward: those
    of convolutions and matrix products, an addition and a multiplication counted as two. ResNet-50
    at 224 px: 49 billion.

    Args:
        config: of the method.
        sizes: sides of the views of a picture, px.
    """
    with torch.device("meta"):
        model = build_method(config)
        model.begin(_course(sizes))
        views = tuple(torch.empty(_ROWS, 3, size, size) for size in sizes)
        labels = torch.empty(_ROWS, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            model(views, labels).loss.backward()
    return counter.get_total_flops() // _ROWS


def _course(sizes: tuple[int, ...]) -> Course:
    return Course(sizes=sizes, num_pictures=_ROWS, batch_size=_ROWS, steps_per_epoch=1, num_steps=1)
