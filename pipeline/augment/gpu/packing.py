"""Parameters as the kernels want them: each view a row of float32, its colours a list of steps.

Brightness, contrast, saturation and grayscale are one formula,

    clamp(gain * channel + luma_gain * luma + mean_gain * (mean of luma over the picture), 0, 1),

so that a view is at most five steps of two kinds, blend or hue, and a kernel knows no operation by
name. A row is the head (the columns named here), then `MAX_STEPS` steps of `STEP_WIDTH` columns.
"""

import math

import numpy as np
import torch

from ..sampler import CONTRAST, HUE, SATURATION
from ..spec import AugmentSpec, GaussianBlur

NUM_STEPS, CONTRAST_AT, SIGMA, FLIP, STEPS = range(5)
"""Head: steps used; the step that needs the mean, or -1; blur, px (0: none); 1 to mirror; the
first column of the steps."""

IS_HUE, GAIN, LUMA_GAIN, MEAN_GAIN = range(4)
"""A step: 1 for hue; the gain, or for hue six times the turn; the other summands' gains."""

STEP_WIDTH = 4
MAX_STEPS = 5
WIDTH = STEPS + STEP_WIDTH * MAX_STEPS
"""Columns of a row."""

LUMA = (0.2989, 0.587, 0.114)
"""torchvision's weights of red, green and blue in gray."""

_REACH_PER_SIGMA = 4  # what lies beyond changes no pixel by more than 0.02 of 255
_NEUTRAL = (0.0, 1.0, 0.0, 0.0)


def blur_reach(spec: AugmentSpec) -> int:
    """How many px a blur of this spec looks to each side; 0: the spec has no blur."""
    blur = spec.find(GaussianBlur)
    return math.ceil(_REACH_PER_SIGMA * blur.sigma[1]) if blur else 0


def pack_params(params: np.ndarray, *, is_flipped: bool = False) -> torch.Tensor:
    """The parameters that remain to be applied to crops.

    Args:
        params: (N,) records of `sampler.PARAMS`; window, resizing and offset are not looked at.
        is_flipped: the crops come mirrored where `flip` says so (those of the CPU kernel do).

    Returns:
        (N, 24) float32 on the CPU, pinned where there is a GPU to copy it to.
    """
    packed = torch.empty((len(params), WIDTH), pin_memory=torch.cuda.is_available())
    rows = packed.numpy()
    jitter, grayscale = params["jitter"] != 0, params["grayscale"] != 0
    order = params["jitter_order"].astype(np.intp)
    factor = np.take_along_axis(params["jitter_factor"], order, axis=1)
    hue, contrast, saturation = order == HUE, order == CONTRAST, order == SATURATION
    assert (np.abs(factor[hue]) <= 0.5).all(), "hue turns by half a circle at most"

    rows[:, NUM_STEPS] = 4 * jitter + grayscale
    rows[:, CONTRAST_AT] = np.where(jitter, contrast.argmax(axis=1), -1)
    rows[:, SIGMA] = params["blur_sigma"]
    rows[:, FLIP] = 0 if is_flipped else params["flip"] != 0

    steps = rows[:, STEPS:].reshape(-1, MAX_STEPS, STEP_WIDTH)
    steps[:] = _NEUTRAL
    gain = np.where(hue, 6 * factor, factor)
    rest = 1 - factor
    steps[jitter, :4] = np.stack([hue, gain, saturation * rest, contrast * rest], axis=-1)[jitter]
    steps[grayscale, 4 * jitter[grayscale]] = (0.0, 0.0, 1.0, 0.0)
    return packed
