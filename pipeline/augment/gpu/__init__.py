"""The GPU kernel: views from uint8 crops in two launches, float32 inside.

    packed = pack_params(params)
    views = make_views(crops, packed, spec=spec, dtype=torch.bfloat16)

Cropping and resizing are the engine's; colours, blur, flip and normalisation happen here, from the
same parameters and within the same tolerance of the oracle as on a CPU. `torch_views` is the same
arithmetic in plain torch, for devices that Triton does not serve.
"""

from .packing import pack_params
from .torch_views import torch_views
from .views import make_views

__all__ = ["make_views", "pack_params", "torch_views"]
