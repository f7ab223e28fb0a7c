"""The GPU kernels: views from uint8 crops, and crops from decoded pictures on the device.

    packed = pack_params(params)
    views = make_views(crops, packed, spec=spec, dtype=torch.bfloat16)

Cropping and resizing are the engine's; colours, blur, flip and normalisation happen here, from the
same parameters and within the same tolerance of the oracle as on a CPU. Where the decoded pictures
of a data set lie on the device, cropping and resizing happen here as well:

    crops = make_crops(pixels, pack_windows(params, starts=starts, widths=widths), size=spec.size)

Inside, all is float32. `torch_views` and `torch_crops` are the same arithmetic in plain torch, for
devices that Triton does not serve.
"""

from .crops import make_crops
from .devices import runs_triton
from .packing import pack_params
from .torch_crops import torch_crops
from .torch_views import torch_views
from .views import make_views
from .windows import Windows, pack_windows

__all__ = [
    "Windows",
    "make_crops",
    "make_views",
    "pack_params",
    "pack_windows",
    "runs_triton",
    "torch_crops",
    "torch_views",
]
