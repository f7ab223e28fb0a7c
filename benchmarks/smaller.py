"""What `convert --max-side 256` would do to a loader's stages, tried on a few of the pictures."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..pipeline.augment.cpu import ViewKernel
from ..pipeline.augment.sampler import draw_views, pack_spec
from ..pipeline.augment.spec import AugmentConfig, build_train_specs
from ..pipeline.convert.contract import Options
from ..pipeline.convert.remake import encode, shrink
from ..pipeline.decode import decode_rgb
from ..pipeline.errors import BadSampleError
from ..pipeline.sources import Source
from ..pipeline.sources.manifest import JPEG

_TRIED = 24
_REPEATS = 3
_SIDE = 256
"""px of the longer side."""
_LARGE = 1.25  # pictures beyond are worth it


class Smaller(NamedTuple):
    """How many times as long each stage takes then."""

    decode: float
    crop: float


def measure_smaller(source: Source, *, size: int = 224) -> Smaller | None:
    """Try it; None: pictures are small already, or none can be read.

    Args:
        source: of the pictures.
        size: side of the views, px.
    """
    before, after = [], []
    for index in np.linspace(0, len(source) - 1, min(_TRIED, len(source))).astype(int).tolist():
        try:
            data = source.read(index)
            pixels = decode_rgb(data)
        except BadSampleError:
            continue
        before.append((data, pixels))
        made = encode(shrink(pixels, _SIDE), JPEG, quality=Options.quality)
        after.append((made, decode_rgb(made)))
    sides = [max(pixels.shape[:2]) for _, pixels in before]
    if not sides or np.median(sides) < _LARGE * _SIDE:
        return None
    crop = _build_crop(size)
    return Smaller(
        decode=_compare(lambda pair: decode_rgb(pair[0]), before, after),
        crop=_compare(lambda pair: crop(pair[1]), before, after),
    )


def _build_crop(size: int) -> Callable[[np.ndarray], None]:
    """Crop and resize alone, as the kernel does it."""
    spec = build_train_specs(AugmentConfig(size=size))[0]
    kernel, out = ViewKernel(spec), np.empty((1, size, size, 3), np.uint8)

    def crop(pixels: np.ndarray) -> None:
        params = draw_views(
            pack_spec(spec),
            seed=0,
            epoch=0,
            indices=np.zeros(1, np.int64),
            view=0,
            heights=np.array([pixels.shape[0]]),
            widths=np.array([pixels.shape[1]]),
        )
        kernel(pixels, params, 0, out)

    crop(np.zeros((size, size, 3), np.uint8))  # compiled now
    return crop


def _compare(work: Callable[[Any], object], before: list[Any], after: list[Any]) -> float:
    """Core seconds of the second over those of the first, the least of some; 1 at most."""
    taken = {0: [], 1: []}
    for _ in range(_REPEATS):
        for number, items in enumerate((before, after)):
            begun = time.thread_time()
            for item in items:
                work(item)
            taken[number].append(time.thread_time() - begun)
    return min(min(taken[1]) / min(taken[0]), 1.0)
