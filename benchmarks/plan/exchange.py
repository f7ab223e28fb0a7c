"""What the processes of a method send each other in a step, counted without weights."""

from dataclasses import dataclass

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ...model.method import ModelConfig, build_method

_NUMBERS = 2  # of each channel: mean and variance; backward the sums of two products
_PASSES = 2  # forward and backward
_FLOAT32 = 4


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Of a process, a step."""

    gradient_bytes: int
    """To be summed over all."""
    num_gathers: int
    """One after the other, each of which all wait for: two for each BatchNorm and view."""
    gathered_bytes: int
    """That a process gives to all of them together."""


def count_exchange(config: ModelConfig, *, num_views: int = 2) -> Exchange:
    """As `train.parallel` and `model.normalisation` do it: gradients in float32, statistics of each
    layer and view by themselves.

    Args:
        config: of the method.
        num_views: of a picture.
    """
    with torch.device("meta"):
        model = build_method(config)
    channels = [m.num_features for m in model.modules() if isinstance(m, _BatchNorm)]
    calls = _PASSES * num_views
    return Exchange(
        gradient_bytes=sum(p.numel() for p in model.parameters() if p.requires_grad) * _FLOAT32,
        num_gathers=calls * len(channels),
        gathered_bytes=calls * sum(channels) * _NUMBERS * _FLOAT32,
    )
