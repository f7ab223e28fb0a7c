"""Views by Pillow's 8-bit operations: what the reference implementation's users train on."""

from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import functional as PF

from ..pipeline.augment.sampler import BRIGHTNESS, CONTRAST, HUE, SATURATION, draw_views, pack_spec
from ..pipeline.augment.spec import AugmentSpec
from ..pipeline.decode import decode_rgb
from ..pipeline.sources import Source


def make_pillow_pixels(
    source: Source, spec: AugmentSpec, indices: np.ndarray, *, seed: int
) -> np.ndarray:
    """The same views by Pillow's 8-bit operations, as the reference implementation makes them."""
    adjust = {
        BRIGHTNESS: PF.adjust_brightness,
        CONTRAST: PF.adjust_contrast,
        SATURATION: PF.adjust_saturation,
        HUE: PF.adjust_hue,
    }
    views = []
    for index in indices:
        image = decode_rgb(source.read(int(index)))
        params = draw_views(
            pack_spec(spec),
            seed=seed,
            epoch=0,
            indices=np.array([index]),
            view=0,
            heights=np.array([image.shape[0]]),
            widths=np.array([image.shape[1]]),
        )[0]
        top, left = int(params["top"]), int(params["left"])
        box = (left, top, left + int(params["width"]), top + int(params["height"]))
        resized = (int(params["resized_width"]), int(params["resized_height"]))
        view: Any = Image.fromarray(image).crop(box).resize(resized, Image.Resampling.BILINEAR)
        view = PF.crop(
            view, int(params["offset_top"]), int(params["offset_left"]), spec.size, spec.size
        )
        for op in params["jitter_order"] if params["jitter"] else ():
            view = adjust[int(op)](view, float(params["jitter_factor"][op]))
        if params["grayscale"]:
            view = PF.rgb_to_grayscale(view, num_output_channels=3)
        if params["blur_sigma"] > 0:
            view = view.filter(ImageFilter.GaussianBlur(float(params["blur_sigma"])))
        view = PF.hflip(view) if params["flip"] else view
        views.append(np.asarray(view).transpose(2, 0, 1))
    return np.stack(views).astype(np.float64)
