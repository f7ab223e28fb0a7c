"""SimSiam's two views (paper, section 4.1) by torchvision's transforms, as those who train with it
write them down: of Pillow's pictures, or of tensors.
"""

from collections.abc import Callable
from typing import Any

import torch

SCALE = (0.2, 1.0)
JITTER = (0.4, 0.4, 0.4, 0.1)
SIGMA = (0.1, 2.0)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_TAPS = 13
"""Of a Gaussian of the largest sigma: three of them to each side."""


class _PillowBlur:
    """A Gaussian of three boxes, which Pillow's is."""

    def __call__(self, image: Any) -> Any:
        from PIL import ImageFilter

        sigma = float(torch.empty(1).uniform_(*SIGMA))
        return image.filter(ImageFilter.GaussianBlur(radius=sigma))


def pillow_view(size: int) -> Callable[[Any], torch.Tensor]:
    """PIL.Image → a view, (3, size, size) float32: the reference implementation's transforms."""
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=SCALE),
            transforms.RandomApply([transforms.ColorJitter(*JITTER)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([_PillowBlur()], p=0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )


def tensor_view(size: int) -> Callable[[Any], torch.Tensor]:
    """(3, H, W) uint8, a tensor or tv_tensors.Image → a view, (3, size, size) float32."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=SCALE, antialias=True),
            v2.RandomApply([v2.ColorJitter(*JITTER)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.GaussianBlur(_TAPS, SIGMA)], p=0.5),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


class TwoViews:
    """Applies the same random transform twice."""

    def __init__(self, view: Callable[[Any], torch.Tensor]) -> None:
        self._view = view

    def __call__(self, picture: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self._view(picture), self._view(picture)
