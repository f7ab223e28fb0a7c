"""The views in plain torch: the same arithmetic as the kernel, on any device.

Batched, without a loop over pictures, and one graph under torch.compile. Run as it is, it computes
every step's blend and its hue for every picture and keeps one of them, each in a float32 batch of
its own: for tests, and for devices that Triton does not serve.
"""

import torch
import torch.nn.functional as F

from ..spec import AugmentSpec
from .packing import (
    FLIP,
    GAIN,
    IS_HUE,
    LUMA,
    LUMA_GAIN,
    MAX_STEPS,
    MEAN_GAIN,
    SIGMA,
    STEP_WIDTH,
    STEPS,
    blur_reach,
)

Planes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Red, green and blue, each (N, size, size) float32 in [0, 1]."""


def torch_views(
    crops: torch.Tensor, packed: torch.Tensor, *, spec: AugmentSpec, dtype: torch.dtype
) -> torch.Tensor:
    """As `make_views`; `packed` is on the device of the crops."""
    red, green, blue = (crops.float() / 255).unbind(-1)
    planes = (red, green, blue)
    for number in range(MAX_STEPS):
        first = STEPS + number * STEP_WIDTH
        step = packed[:, first : first + STEP_WIDTH, None, None].unbind(1)
        blended = _blend(planes, step[GAIN], step[LUMA_GAIN], step[MEAN_GAIN])
        turned = _turn_hue(planes, step[GAIN])
        is_hue = step[IS_HUE] != 0
        red, green, blue = (
            torch.where(is_hue, *pair) for pair in zip(turned, blended, strict=True)
        )
        planes = (red, green, blue)
    pixels = torch.stack(planes, dim=-1).permute(0, 3, 1, 2)
    if reach := blur_reach(spec):
        pixels = _blur(pixels, packed[:, SIGMA], reach)
    is_flipped = packed[:, FLIP, None, None, None] != 0
    pixels = torch.where(is_flipped, pixels.flip(-1), pixels)
    mean, std = (
        pixels.new_tensor(values)[:, None, None]
        for values in (spec.normalize.mean, spec.normalize.std)
    )
    views = ((pixels - mean) / std).to(dtype)
    return views.contiguous(memory_format=torch.channels_last)


def _blend(
    planes: Planes, gain: torch.Tensor, luma_gain: torch.Tensor, mean_gain: torch.Tensor
) -> Planes:
    red, green, blue = planes
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    summand = luma_gain * luma + mean_gain * luma.mean((1, 2), keepdim=True)
    red, green, blue = ((gain * plane + summand).clamp(0, 1) for plane in planes)
    return red, green, blue


def _turn_hue(planes: Planes, turn: torch.Tensor) -> Planes:
    """HSV rotation by `turn` sixths of the circle, at most 3 either way.

    Chroma times hue is carried instead of hue, which needs no division and nothing special where
    there is no colour.
    """
    red, green, blue = planes
    high = torch.maximum(red, torch.maximum(green, blue))
    low = torch.minimum(red, torch.minimum(green, blue))
    chroma = high - low
    hue = torch.where(high == green, 2 * chroma + blue - red, 4 * chroma + red - green)
    hue = torch.where(high == red, green - blue, hue) + turn * chroma
    hue = torch.where(hue < 0, hue + 6 * chroma, hue)
    hue = torch.where(hue >= 6 * chroma, hue - 6 * chroma, hue)
    red = (hue - 3 * chroma).abs() - chroma
    green = 2 * chroma - (hue - 2 * chroma).abs()
    blue = 2 * chroma - (hue - 4 * chroma).abs()
    red, green, blue = (
        low + torch.minimum(part.clamp(min=0), chroma) for part in (red, green, blue)
    )
    return red, green, blue


def _blur(pixels: torch.Tensor, sigma: torch.Tensor, reach: int) -> torch.Tensor:
    """A true Gaussian on (N, 3, H, W), edges replicated; sigma (N,) in px, 0 for none.

    A sum over taps, not a convolution or a product of matrices: those may round to TF32.
    """
    offsets = torch.arange(-reach, reach + 1, device=pixels.device)
    # A sigma so small leaves exactly the centre's weight.
    weights = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).T[..., None, None, None]
    for dim, pad in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        length = pixels.shape[dim]
        padded = F.pad(pixels, pad, mode="replicate")
        pixels = weights[0] * padded.narrow(dim, 0, length)
        for tap in range(1, 2 * reach + 1):
            pixels = pixels + weights[tap] * padded.narrow(dim, tap, length)
    return pixels
