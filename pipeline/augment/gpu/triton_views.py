"""The views by Triton: two launches, nothing but crops read and views written.

1. The mean of luma that contrast needs, one program a view: the steps before contrast are computed
   and forgotten.
2. One program a tile of 64 × 64 px: its colours, and of blurred views the blur, as two products
   with a band of weights on the tensor cores, of the tile and a halo around it whose colours are
   computed again (5 × 5 tiles for 224 px and a sigma up to 2, where a plain view has 4 × 4).

Estimate, not a measurement, for 1,024 views of 224 px, half of them blurred, on an H200 (4.3 TB/s,
132 multiprocessors at 1.7 GHz): crops read twice and bf16 views written are 0.6 GB, 0.15 ms. In (1)
some 60 instructions a pixel, 0.1 ms. In (2) a tile is 4,096 × 120 instructions, 2.2 µs of a
multiprocessor, and 1 µs to load; if blurred, 9.4 MFLOP and as much again in moving operands, 3 µs;
97 blurred and 62 plain tiles for each of them, 0.8 ms. In all 1 ms, 2 if half as efficient, against
125 ms for the training step of these 512 pictures.

Compiled for sm_90: 236 registers in (2) with nothing spilled and 48 KiB of shared memory, so that
two programs share a multiprocessor; 48 registers in (1). Tensor cores before Hopper's, and those of
capability 12, take matrices from registers, not from shared memory: there twice the warps blur one
plane after the other, 255 registers on sm_80 and nothing spilled (all three at once would spill
1,136 bytes a thread with 4 warps, 392 with 8).
"""

from typing import Any

import torch
import triton

from ..spec import AugmentSpec
from .packing import blur_reach
from .triton_kernels import mean_luma_kernel, view_kernel

TILE = 64
"""Side of a tile, px."""

MEAN_OPTIONS = {"BLOCK": 2048, "num_warps": 8, "enable_fp_fusion": True}
"""How the first kernel is compiled."""


_FROM_SHARED_MEMORY = (9, 10, 11)  # capabilities with wgmma or tcgen05; others have mma


def view_options(reach: int, capability: tuple[int, int]) -> dict[str, Any]:
    """How the second kernel is compiled for blurs that look `reach` px to each side.

    Args:
        reach: px.
        capability: of the device, as (8, 0) for sm_80.
    """
    is_tight = reach > 0 and capability[0] not in _FROM_SHARED_MEMORY
    return {
        "TILE": TILE,
        "REACH": reach,
        "ONE_BY_ONE": is_tight,
        "num_warps": 4 if reach and not is_tight else 8,
        "enable_fp_fusion": True,
    }


def find_capability(device: torch.device) -> tuple[int, int]:
    """The device's; on a CPU, where kernels are interpreted, Hopper's."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)


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
        mean_luma_kernel[(count,)](crops, packed, means, size * size, **MEAN_OPTIONS)
        view_kernel[(count * tiles_per_view,)](
            crops, packed, means, views, size, tiles_per_view, *scales, *biases,  # pyright: ignore
            **view_options(reach, find_capability(crops.device)),
        )  # fmt: skip
    return views
