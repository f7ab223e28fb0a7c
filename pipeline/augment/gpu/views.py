"""The one function that callers use: the Triton kernel where it runs, plain torch elsewhere."""

import torch

from ..spec import AugmentSpec
from .devices import runs_triton
from .packing import WIDTH, blur_reach
from .torch_views import torch_views

_MAX_REACH = 16  # px of blur to each side that leave half of a kernel's tile


def make_views(
    crops: torch.Tensor, packed: torch.Tensor, *, spec: AugmentSpec, dtype: torch.dtype
) -> torch.Tensor:
    """Views from crops. On a GPU two launches on the current stream, with no synchronisation.

    Views that share a spec are best made in one call: both views of a batch of B as
    `crops` (2B, size, size, 3), then `views[:B]` and `views[B:]`.

    Args:
        crops: (N, size, size, 3) uint8, contiguous: cropped and resized.
        packed: (N, 24) float32 of `pack_params`, in the crops' order. From pinned memory it is
            copied to their device beside the host's work.
        spec: of the views; only the blur's greatest sigma and the normalisation are looked at.
        dtype: float32, bfloat16 or float16; rounded to nearest.

    Returns:
        (N, 3, size, size), channels-last, normalised, on the crops' device; fresh memory.
    """
    count, size = len(crops), spec.size
    assert crops.shape == (count, size, size, 3), (crops.shape, size)
    assert crops.dtype == torch.uint8, crops.dtype
    assert crops.is_contiguous(), crops.stride()
    assert packed.shape == (count, WIDTH), packed.shape
    packed = packed.to(crops.device, non_blocking=True)
    if blur_reach(spec) <= _MAX_REACH and runs_triton(crops.device):
        from .triton_views import triton_views

        return triton_views(crops, packed, spec=spec, dtype=dtype)
    return torch_views(crops, packed, spec=spec, dtype=dtype)
