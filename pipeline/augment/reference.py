"""The oracle: torchvision's functional operations in float64 from the decoded picture on.

Slow, never rounded between operations, and only as clever as torchvision itself. Each fast form is
held against it. What torchvision lacks is a Gaussian with replicated edges and enough taps, given
here as two plain convolutions.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as TF

from .sampler import BRIGHTNESS, CONTRAST, HUE, SATURATION

_BLUR_REACH = 6  # taps beyond six sigma are below 1e-8

_JITTER = {
    BRIGHTNESS: TF.adjust_brightness,
    CONTRAST: TF.adjust_contrast,
    SATURATION: TF.adjust_saturation,
    HUE: TF.adjust_hue,
}


def crop_and_resize(image: np.ndarray, params: np.void, *, size: int) -> torch.Tensor:
    """Cut the window out, resize it antialiased and take the view's square from it.

    Args:
        image: (H, W, 3) uint8.
        params: one record of `sampler.PARAMS`.
        size: side of the view, px.

    Returns:
        (3, size, size) float64 in [0, 1].
    """
    top, left = int(params["top"]), int(params["left"])
    height, width = int(params["height"]), int(params["width"])
    window = np.ascontiguousarray(image[top : top + height, left : left + width])
    pixels = torch.from_numpy(window).permute(2, 0, 1)[None].double() / 255
    resized = (int(params["resized_height"]), int(params["resized_width"]))
    pixels = F.interpolate(pixels, resized, mode="bilinear", antialias=True, align_corners=False)
    offset_top, offset_left = int(params["offset_top"]), int(params["offset_left"])
    return pixels[0, :, offset_top : offset_top + size, offset_left : offset_left + size]


def gaussian_blur(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """A true Gaussian on (3, H, W), edges replicated; sigma in px."""
    reach = max(1, math.ceil(_BLUR_REACH * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=pixels.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(pixels[None], (reach, reach, 0, 0), mode="replicate")
    rows = F.conv2d(padded, kernel[:, :, None, :], groups=3)
    padded = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(padded, kernel[:, :, :, None], groups=3)[0]


def augment(image: np.ndarray, params: np.void, *, size: int) -> torch.Tensor:
    """One view before normalisation.

    Args:
        image: (H, W, 3) uint8, the decoded picture.
        params: one record of `sampler.PARAMS`.
        size: side of the view, px.

    Returns:
        (3, size, size) float64 in [0, 1].
    """
    pixels = crop_and_resize(image, params, size=size)
    if params["jitter"]:
        for op in params["jitter_order"]:
            pixels = _JITTER[int(op)](pixels, float(params["jitter_factor"][op]))
    if params["grayscale"]:
        pixels = TF.rgb_to_grayscale(pixels, num_output_channels=3)
    if params["blur_sigma"] > 0:
        pixels = gaussian_blur(pixels, float(params["blur_sigma"]))
    if params["flip"]:
        pixels = pixels.flip(-1)
    return pixels
