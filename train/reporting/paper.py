"""What the paper reports of a recipe, to stand beside what a run has reached."""

from typing import NamedTuple

from ..config import Config

NOTHING = "the paper has nothing to compare it with"
"""Of every other recipe, in words."""


class Published(NamedTuple):
    """Figures of others for the same recipe."""

    linear: float
    """Top-1 accuracy of a linear classifier on the frozen features, percent."""
    knn: float | None
    """kNN accuracy as others report it, percent; None: the project knows of none."""
    source: str
    """Where they stand."""


class _Recipe(NamedTuple):
    """What a configuration says that tells a recipe of the paper from others.

    Which pictures there are it does not say: their preset and size stand for the data set.
    """

    backbone: str
    preset: str
    size: int
    epochs: int
    batch_size: int


def _imagenet(epochs: int, batch_size: int) -> _Recipe:
    return _Recipe("resnet50", "imagenet", 224, epochs, batch_size)


_PUBLISHED = {
    _imagenet(100, 256): Published(68.1, None, "table 4"),
    _imagenet(200, 256): Published(70.0, None, "table 4"),
    _imagenet(400, 256): Published(70.8, None, "table 4"),
    _imagenet(800, 256): Published(71.3, None, "table 4"),
    _imagenet(100, 512): Published(68.1, None, "table 2"),
    _Recipe("cifar_resnet18", "cifar", 32, 800, 512): Published(
        91.8, 90.4, "appendix D; the kNN is others'"
    ),
}
"""Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021."""


def find_published(config: Config) -> Published | None:
    """The figures of a run's recipe; None: the paper has nothing to compare it with.

    Args:
        config: of the run. One that was trained on a part of its pictures is no recipe of the
            paper, nor is another method.
    """
    if config.data.limit is not None or config.model.method != "simsiam":
        return None
    recipe = _Recipe(
        backbone=config.model.backbone,
        preset=config.augment.preset,
        size=config.augment.size,
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
    )
    return _PUBLISHED.get(recipe)
