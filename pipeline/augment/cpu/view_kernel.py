"""The kernel as Python code uses it: checks once, scratch per thread, arrays of batches."""

import threading
from collections.abc import Sequence

import numpy as np
import torch

from ...errors import UserError
from ...stages import Stages, claim
from ..spec import AugmentSpec, ColorJitter, GaussianBlur
from .kernel import augment_view, make_constants
from .scratch import MAX_SIGMA, Scratch, make_scratch

MIN_SIZE, MAX_SIZE = 8, 1024
_MAX_FACTOR = 255.0
_FIRST_SIDE = 1024  # most pictures; larger ones make the scratch grow


def check_spec(spec: AugmentSpec) -> None:
    """Refuse what the kernel cannot do, when it is built rather than in mid-epoch.

    Raises:
        UserError: the size, the blur or the jitter is out of range.
    """
    if not MIN_SIZE <= spec.size <= MAX_SIZE:
        raise UserError(f"augment size {spec.size}: must be {MIN_SIZE} to {MAX_SIZE} px")
    blur = spec.find(GaussianBlur)
    if blur and blur.sigma[1] > MAX_SIGMA:
        raise UserError(f"GaussianBlur sigma {blur.sigma[1]}: must be at most {MAX_SIGMA} px")
    jitter = spec.find(ColorJitter)
    if jitter:
        for name in ("brightness", "contrast", "saturation"):
            if getattr(jitter, name) > _MAX_FACTOR - 1:
                raise UserError(f"ColorJitter {name} {getattr(jitter, name)}: must be at most 254")
        if jitter.hue > 0.5:
            raise UserError(f"ColorJitter hue {jitter.hue}: must be at most 0.5 turns")


def as_pixels(views: torch.Tensor) -> np.ndarray:
    """The memory of a batch as `augment_view` wants it.

    Args:
        views: (N, 3, size, size), channels-last, on the CPU: float32, bfloat16, or uint8 for crops.

    Returns:
        (N, size, size, 3), sharing memory: float32, uint16 (holding bfloat16) or uint8.
    """
    assert views.is_contiguous(memory_format=torch.channels_last), views.stride()
    pixels = views.permute(0, 2, 3, 1)
    return (pixels.view(torch.uint16) if views.dtype == torch.bfloat16 else pixels).numpy()


class ViewKernel:
    """Makes views of one spec. May be called by many threads; each has its own scratch.

    Raises:
        UserError: see `check_spec`.
    """

    def __init__(self, spec: AugmentSpec, stages: Stages | None = None) -> None:
        check_spec(spec)
        self.spec = spec
        self._stages = stages
        self.constants = make_constants(spec.normalize)
        self._local = threading.local()

    def __reduce__(self) -> tuple:
        return ViewKernel, (self.spec,)

    def __call__(self, image: np.ndarray, params: np.ndarray, row: int, out: np.ndarray) -> None:
        """Make out[row] from a picture and params[row]; the GIL is released meanwhile.

        Args:
            image: (H, W, 3) uint8, C-contiguous.
            params: (N,) records of `sampler.PARAMS`.
            row: position in `params` and in `out`.
            out: (N, size, size, 3), C-contiguous, see `as_pixels`. float32 or uint16 (bfloat16):
                the whole view, normalised. uint8: crop, resize and flip alone.

        Raises:
            ValueError: the window is not in the picture.
        """
        if augment_view(image, params, row, self._scratch(), self.constants, out):
            return
        side = max(int(params[row]["height"]), int(params[row]["width"]))
        scratch = self._scratch(side)
        if not augment_view(image, params, row, scratch, self.constants, out):
            raise ValueError(f"picture of shape {image.shape}, {params[row]}: no such window")

    def augment(self, images: Sequence[np.ndarray], params: np.ndarray, out: np.ndarray) -> None:
        """Make the view of each picture: out[i] of images[i] and params[i]. As `__call__`."""
        for row, image in enumerate(images):
            self(image, params, row, out)

    def _scratch(self, side: int = _FIRST_SIDE) -> Scratch:
        """This thread's scratch, with room for windows of `side` px."""
        scratch = getattr(self._local, "scratch", None)
        if scratch is None or scratch.max_side < side:
            ticks = claim(self._stages) if scratch is None else scratch.ticks
            scratch = make_scratch(size=self.spec.size, max_side=side, ticks=ticks)
            self._local.scratch = scratch
        return scratch
