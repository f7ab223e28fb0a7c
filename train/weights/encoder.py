"""`swiftsiam.load_encoder`: a trained backbone for programs."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from ...pipeline.augment.spec import AugmentSpec, ResizeCenterCrop, build_eval_spec
from ...pipeline.files import absolute
from .trained import load_trained


class Encoder(NamedTuple):
    """A backbone and what its pictures go through before it."""

    network: nn.Module
    """(B, 3, size, size) float32 → (B, d) pooled features; in eval mode, on the CPU."""
    transform: Callable[[Image.Image], torch.Tensor]
    """A picture → (3, size, size) float32: resized, its centre cut out, normalised."""


def load_encoder(path: str | Path) -> Encoder:
    """The backbone that was trained, without its heads.

    Args:
        path: a run folder or a checkpoint of it, what `swiftsiam export` or `import` wrote, or a
            checkpoint of another trainer that holds a known ResNet.

    Raises:
        UserError: it is none of them, is damaged, or holds more than data.
    """
    trained = load_trained(absolute(path))
    return Encoder(trained.build(), build_transform(build_eval_spec(trained.config.augment)))


def build_transform(spec: AugmentSpec) -> Callable[[Image.Image], torch.Tensor]:
    """The evaluation view by torchvision's transforms, for a picture of any mode and size."""
    crop, normalize = spec.crop, spec.normalize
    assert isinstance(crop, ResizeCenterCrop)
    return v2.Compose(
        [
            v2.RGB(),
            v2.PILToTensor(),
            v2.Resize(crop.resize, antialias=True),
            v2.CenterCrop(crop.size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(normalize.mean), list(normalize.std)),
        ]
    )
