"""SimSiam (Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F

from .method import Axis, ModelConfig, Output
from .siamese import Siamese
from .statistics import normalized_std

# On CIFAR-10 without the stop-gradient z_std is 0.45 and the loss -0.87 after 130 steps, 0.26 and
# -0.96 after 600; with it, z_std is never below 0.94, in 3,744 steps of one run and 1,120 of
# another. The projector's last BatchNorm keeps it up: it falls where few pictures get all.
COLLAPSED_STD = 0.5
COLLAPSED_LOSS = -0.85
LEAST_ROWS = 16
"""Of fewer pictures z_std stays above its limit when all but one have one projection, and of very
few it is below in health."""


def build(config: ModelConfig) -> "SimSiam":
    """The method of this configuration, with fresh weights."""
    return SimSiam(config)


def negative_cosine(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """D(p, z): minus the cosine similarity, mean over the batch; in float32 whatever the inputs."""
    return -F.cosine_similarity(prediction.float(), target.float(), dim=1).mean()


class SimSiam(Siamese):
    """Backbone, projector and predictor around one symmetric loss."""

    axes: ClassVar = {"loss": Axis("loss (collapsed: -1)"), **Siamese.axes}
    least_rows = LEAST_ROWS

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.projector = self.build_projector()
        self.predictor = self.build_predictor()

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The symmetric loss of two views; the labels are not used.

        The views pass one after the other: BatchNorm's statistics are per view (section 3).
        """
        view1, view2 = views
        z1, z2 = self.encode(view1), self.encode(view2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        target1, target2 = z1.detach(), z2.detach()  # the stop-gradient
        loss = 0.5 * negative_cosine(p1, target2) + 0.5 * negative_cosine(p2, target1)
        z_std = 0.5 * (normalized_std(target1) + normalized_std(target2))
        return Output(loss, {"z_std": z_std}, (target1, target2))

    def diagnose(self, figures: Mapping[str, float]) -> str | None:
        """Collapse (section 4.1): all pictures get one projection, and the loss goes to -1."""
        z_std, loss = figures.get("z_std", 1.0), figures["loss"]
        if z_std > COLLAPSED_STD or loss > COLLAPSED_LOSS:
            return None
        return (
            f"z_std {z_std:.3f} (healthy: near 1) and loss {loss:.3f} (-1 is the least): the "
            "projections of all pictures become one. Usual causes: a learning rate that is too "
            "high, or a method changed in its stop-gradient, its predictor or its BatchNorms"
        )
