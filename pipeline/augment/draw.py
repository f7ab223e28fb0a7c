"""One picture and its parameters into one row of a batch, by the kernel or by the oracle."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from ..stages import Stages
from . import reference
from .cpu import ViewKernel, as_pixels
from .sampler import PARAMS, draw_view, pack_spec
from .spec import AugmentSpec

ViewMaker = Callable[[np.ndarray, np.ndarray, int, np.ndarray], None]
"""(image (H, W, 3) uint8, params (N,), row, batch (N, size, size, 3) of `cpu.as_pixels`)"""


def build_view_maker(
    spec: AugmentSpec, *, ops: Literal["kernel", "oracle"], stages: Stages | None = None
) -> ViewMaker:
    """What makes this spec's views.

    Args:
        spec: of the view.
        ops: `oracle` for the slow float64 reference.
        stages: where the kernel counts its time.
    """
    if ops == "oracle":
        return _build_oracle(spec)
    return ViewKernel(spec, stages)


def _build_oracle(spec: AugmentSpec) -> ViewMaker:
    mean = torch.tensor(spec.normalize.mean, dtype=torch.float64)
    std = torch.tensor(spec.normalize.std, dtype=torch.float64)

    def make(image: np.ndarray, params: np.ndarray, row: int, batch: np.ndarray) -> None:
        pixels = reference.augment(image, params[row], size=spec.size)
        view = ((pixels.permute(1, 2, 0) - mean) / std).float()
        if batch.dtype == np.uint16:
            batch[row] = view.bfloat16().view(torch.uint16).numpy()
        else:
            batch[row] = view.numpy()

    return make


def warm_up(spec: AugmentSpec, *, dtype: torch.dtype, ops: Literal["kernel", "oracle"]) -> None:
    """Compile what makes this spec's views, or read it from the cache on disk."""
    image = np.zeros((2, 2, 3), np.uint8)
    params = np.zeros(1, PARAMS)
    packed = pack_spec(spec)
    draw_view(packed[0], np.uint64(0), np.uint64(0), np.int64(0), np.uint64(0), 2, 2, params[0])
    view = torch.empty((1, spec.size, spec.size, 3), dtype=dtype).permute(0, 3, 1, 2)
    build_view_maker(spec, ops=ops)(image, params, 0, as_pixels(view))
