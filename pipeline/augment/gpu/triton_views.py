"""The views by Triton: two launches, nothing but crops read and views written.

1. The mean of luma that contrast needs, one program a view: the steps before contrast are computed
   and forgotten.
2. One program a tile of 64 × 64 px: its colours, and of blurred views the blur, as two products
   with a band of weights on the tensor cores, of the tile and a halo around it whose colours are
   computed again (5 × 5 tiles for 224 px and a sigma up to 2, where a plain view has 4 × 4).

Estimate, not a measurement, for 1,024 views of 224 px, half of them blurred, on an H200 (4.3 TB/s,
33 T float32 instructions/s): crops read twice and bf16 views written are 0.6 GB, 0.15 ms; colours,
some 120 instructions a pixel in (2) and half of that in (1), 1.6 pixels for one because of halo
and rim, 0.4 ms; the blur 40 GFLOP, threefold for TF32 three times over, at a third of the 400
TFLOP/s of TF32 about 1 ms. In all 1 to 2 ms, against 125 ms for the step of a batch of 512.
"""

import torch
import triton

from ..spec import AugmentSpec
from .packing import blur_reach
from .triton_kernels import mean_luma_kernel, view_kernel

TILE = 64
BLOCK = 2048  # pixels at a time of the mean
NUM_WARPS = 8


def triton_views(
    crops: torch.Tensor, packed: torch.Tensor, *, spec: AugmentSpec, dtype: torch.dtype
) -> torch.Tensor:
    """As `make_views`; `packed` is on the device of the crops, the blur's reach at most 16 px."""
    count, size, reach = len(crops), spec.size, blur_reach(spec)
    views = torch.empty(
        (count, 3, size, size),
        dtype=dtype,
        device=crops.device,
        memory_format=torch.channels_last,
    )
    means = torch.empty(count, device=crops.device)
    tiles_per_view = triton.cdiv(size, TILE - 2 * reach) ** 2
    scales = [1 / std for std in spec.normalize.std]
    biases = [
        -mean / std for mean, std in zip(spec.normalize.mean, spec.normalize.std, strict=True)
    ]
    with torch.cuda.device_of(crops):
        mean_luma_kernel[(count,)](
            crops, packed, means, size * size, BLOCK=BLOCK, num_warps=NUM_WARPS
        )
        view_kernel[(count * tiles_per_view,)](
            crops, packed, means, views, size, tiles_per_view, *scales, *biases,
            TILE=TILE, REACH=reach, num_warps=NUM_WARPS,
        )  # fmt: skip
    return views
