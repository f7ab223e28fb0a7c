"""With which numbers: the parameters of each view, a pure function of (seed, epoch, index, view).

One compiled sampler serves every engine. The distributions are torchvision's own
(`RandomResizedCrop.get_params`, `ColorJitter.get_params`, `RandomApply`), including the ten tries
for a crop and the central fallback; the tests hold each parameter against them.
"""

import math

import numpy as np

from ..compiling import compiled
from ..philox import fill_uniform
from .spec import (
    AugmentSpec,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    RandomResizedCrop,
    ResizeCenterCrop,
)

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

PARAMS = np.dtype(
    [
        # The window of source pixels; it is resized to (resized_height, resized_width), of which
        # the view is the size × size square at (offset_top, offset_left). For a random crop the
        # resized window is the view itself; the evaluation view cuts the centre out of a resized
        # picture.
        ("top", np.int32),
        ("left", np.int32),
        ("height", np.int32),
        ("width", np.int32),
        ("resized_height", np.int32),
        ("resized_width", np.int32),
        ("offset_top", np.int32),
        ("offset_left", np.int32),
        # The four colour operations in the order drawn; applied only if `jitter` is 1.
        ("jitter_order", np.uint8, (4,)),
        ("jitter", np.uint8),
        ("grayscale", np.uint8),
        ("flip", np.uint8),
        ("_reserved", np.uint8),
        # Factors for brightness, contrast and saturation; the shift in turns for hue.
        ("jitter_factor", np.float64, (4,)),
        # Standard deviation in pixels of the view; 0: no blur.
        ("blur_sigma", np.float64),
    ],
    align=True,
)
"""One view's parameters. All lengths are in pixels."""

_SPEC = np.dtype(
    [
        ("random_crop", np.int64),
        ("size", np.int64),
        ("resize", np.int64),
        ("scale", np.float64, (2,)),
        ("ratio", np.float64, (2,)),
        ("jitter_prob", np.float64),
        ("jitter_low", np.float64, (4,)),
        ("jitter_high", np.float64, (4,)),
        ("grayscale_prob", np.float64),
        ("blur_prob", np.float64),
        ("blur_sigma", np.float64, (2,)),
        ("flip_prob", np.float64),
    ],
    align=True,
)

CROP_TRIES = 10  # as torchvision's get_params

# Places in a view's row of uniforms: a parameter keeps its place whatever the spec leaves out.
_CROP = 0
_TOP = 2 * CROP_TRIES
_LEFT = _TOP + 1
_FLIP = _TOP + 2
_JITTER = _TOP + 3
_ORDER = _JITTER + 1
_FACTOR = _ORDER + 3
_GRAYSCALE = _FACTOR + 4
_BLUR = _GRAYSCALE + 1
_SIGMA = _BLUR + 1
_NUM_UNIFORMS = _SIGMA + 1


def pack_spec(spec: AugmentSpec) -> np.ndarray:
    """The numbers of a spec as one record, shape (1,), for compiled code."""
    packed = np.zeros(1, _SPEC)
    record = packed[0]
    record["size"] = record["resize"] = spec.size
    if isinstance(spec.crop, RandomResizedCrop):
        record["random_crop"] = 1
        record["scale"] = spec.crop.scale
        record["ratio"] = spec.crop.ratio
    elif isinstance(spec.crop, ResizeCenterCrop):
        record["resize"] = spec.crop.resize
    if jitter := spec.find(ColorJitter):
        strengths = np.array([jitter.brightness, jitter.contrast, jitter.saturation])
        record["jitter_prob"] = jitter.prob
        record["jitter_low"] = [*np.maximum(0.0, 1.0 - strengths), -jitter.hue]
        record["jitter_high"] = [*(1.0 + strengths), jitter.hue]
    if grayscale := spec.find(Grayscale):
        record["grayscale_prob"] = grayscale.prob
    if blur := spec.find(GaussianBlur):
        record["blur_prob"] = blur.prob
        record["blur_sigma"] = blur.sigma
    if flip := spec.find(HorizontalFlip):
        record["flip_prob"] = flip.prob
    return packed


@compiled(nogil=True)
def _draw_window(spec, uniforms, height, width, out):
    """A random window by area and aspect ratio: torchvision's ten tries, then its fallback."""
    area = float(height) * float(width)
    log_low = math.log(spec.ratio[0])
    log_high = math.log(spec.ratio[1])
    for attempt in range(CROP_TRIES):
        scale = spec.scale[0] + uniforms[_CROP + 2 * attempt] * (spec.scale[1] - spec.scale[0])
        log_ratio = log_low + uniforms[_CROP + 2 * attempt + 1] * (log_high - log_low)
        ratio = math.exp(log_ratio)
        crop_width = int(np.rint(math.sqrt(area * scale * ratio)))
        crop_height = int(np.rint(math.sqrt(area * scale / ratio)))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            out.height = crop_height
            out.width = crop_width
            out.top = int(uniforms[_TOP] * (height - crop_height + 1))
            out.left = int(uniforms[_LEFT] * (width - crop_width + 1))
            return
    crop_height, crop_width = height, width
    if width < height * spec.ratio[0]:
        crop_height = int(np.rint(width / spec.ratio[0]))
    elif width > height * spec.ratio[1]:
        crop_width = int(np.rint(height * spec.ratio[1]))
    # Pictures one pixel wide or high round to windows that do not exist.
    out.height = min(max(crop_height, 1), height)
    out.width = min(max(crop_width, 1), width)
    out.top = (height - out.height) // 2
    out.left = (width - out.width) // 2


@compiled(nogil=True)
def _center_window(spec, height, width, out):
    """The whole picture, resized by its shorter side, and the centre of it.

    Lengths are rounded as torchvision's Resize and CenterCrop round them.
    """
    short = min(height, width)
    out.top = out.left = 0
    out.height, out.width = height, width
    out.resized_height = int(spec.resize * height / short)
    out.resized_width = int(spec.resize * width / short)
    out.offset_top = int(np.rint((out.resized_height - spec.size) / 2.0))
    out.offset_left = int(np.rint((out.resized_width - spec.size) / 2.0))


@compiled(nogil=True)
def draw_view(spec, seed, epoch, index, view, height, width, out):
    """Draw one view's parameters into the record `out` (dtype `PARAMS`).

    Args:
        spec: one record of `pack_spec`.
        seed, epoch, index, view: the coordinates of the view; nothing else enters.
        height, width: of the picture, px.
    """
    uniforms = np.empty(_NUM_UNIFORMS, np.float64)
    fill_uniform(seed, index, epoch, view, uniforms)
    out.resized_height = out.resized_width = spec.size
    out.offset_top = out.offset_left = 0
    if spec.random_crop:
        _draw_window(spec, uniforms, height, width, out)
    else:
        _center_window(spec, height, width, out)
    out.flip = uniforms[_FLIP] < spec.flip_prob
    out.jitter = uniforms[_JITTER] < spec.jitter_prob
    for k in range(4):
        out.jitter_order[k] = k
        low, high = spec.jitter_low[k], spec.jitter_high[k]
        out.jitter_factor[k] = low + uniforms[_FACTOR + k] * (high - low)
    for k in range(3):  # Fisher-Yates
        other = k + int(uniforms[_ORDER + k] * (4 - k))
        kept = out.jitter_order[k]
        out.jitter_order[k] = out.jitter_order[other]
        out.jitter_order[other] = kept
    out.grayscale = uniforms[_GRAYSCALE] < spec.grayscale_prob
    out.blur_sigma = 0.0
    if uniforms[_BLUR] < spec.blur_prob:
        low, high = spec.blur_sigma
        out.blur_sigma = low + uniforms[_SIGMA] * (high - low)


@compiled(nogil=True)
def _draw_views(spec, seed, epoch, indices, view, heights, widths, out):
    for i in range(indices.size):
        draw_view(spec[0], seed, epoch, indices[i], view, int(heights[i]), int(widths[i]), out[i])


def draw_views(
    spec: np.ndarray,
    *,
    seed: int,
    epoch: int,
    indices: np.ndarray,
    view: int,
    heights: np.ndarray,
    widths: np.ndarray,
) -> np.ndarray:
    """The parameters of one view of many samples.

    Args:
        spec: of `pack_spec`.
        seed: 0 to 2^64 - 1.
        epoch: from 0.
        indices: (N,) integers, positions in the source's sorted listing.
        view: from 0.
        heights, widths: (N,) integers, px.

    Returns:
        (N,) records of dtype `PARAMS`.
    """
    out = np.zeros(len(indices), PARAMS)
    _draw_views(
        spec,
        np.uint64(seed),
        np.uint64(epoch),
        np.asarray(indices, np.int64),
        np.uint64(view),
        np.asarray(heights, np.int64),
        np.asarray(widths, np.int64),
        out,
    )
    return out
