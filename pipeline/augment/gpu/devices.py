"""Which devices Triton's kernels run on."""

import importlib.util
from functools import cache

import torch


@cache
def runs_triton(device: torch.device) -> bool:
    """Whether Triton is installed and serves this device: NVIDIA, from Ampere on."""
    return (
        device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and importlib.util.find_spec("triton") is not None
    )
