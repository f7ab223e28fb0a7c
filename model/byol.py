"""BYOL (Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020): SimSiam with a momentum encoder
for the targets.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le

from .copies import EncoderCopy, MomentumSchedule
from .method import Axis, Course, MethodName, ModelConfig, Output
from .siamese import Siamese, summarise
from .simsiam import negative_cosine


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """The section `model` of this method."""

    method: MethodName = "byol"
    """BYOL."""
    projector_layers: Annotated[int, Ge(1), Le(8)] = 2
    """Of the projector."""
    projector_hidden: Annotated[int, Ge(1), Le(65_536)] | None = 4096
    """Hidden width; null: the backbone's own."""
    projection_dim: Annotated[int, Ge(1), Le(65_536)] = 256
    """Width of projection and prediction."""
    predictor_hidden: Annotated[int, Ge(1), Le(65_536)] | None = 4096
    """The predictor's hidden width; null: a quarter of projection_dim."""
    momentum: Annotated[float, Ge(0), Le(1)] = 0.99
    """Share of itself that the momentum encoder keeps in the first step; 0.99 for 100 to 300 epochs
    of ImageNet, 0.996 for 1,000. It rises to 1 in the last step.
    """


def build(config: ModelConfig) -> "BYOL":
    """The method of this configuration, with fresh weights."""
    assert isinstance(config, Config)
    return BYOL(config)


class BYOL(Siamese):
    """Each view predicts the projection of the other one by a slowly following encoder.

    The loss is SimSiam's, minus the cosine: a quarter of BYOL's own, which is 2 - 2 cos of either
    view, without its constant. BN stands in the hidden layers of the heads alone.
    """

    axes: ClassVar = {"loss": Axis("loss (-1 is the least)"), **Siamese.axes}
    predictor_decays: ClassVar = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.projector = self.build_projector(output_norm=False)
        self.predictor = self.build_predictor()
        self.momentum_encoder = EncoderCopy(self.backbone, self.projector)
        self.schedule = MomentumSchedule(config.momentum, rises=True)

    def begin(self, course: Course) -> None:
        super().begin(course)
        self.schedule.num_steps = course.num_steps

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The symmetric loss of two views; the labels are not used."""
        z1, z2 = (self.encode(view) for view in views)
        target1, target2 = (self.momentum_encoder(view) for view in views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = 0.5 * negative_cosine(p1, target2) + 0.5 * negative_cosine(p2, target1)
        return summarise(loss, [z1, z2])

    def move_to(self, step: int) -> None:
        self.schedule.done.fill_(step)

    def after_step(self) -> None:
        keep = self.schedule.step()
        self.momentum_encoder.follow(self.backbone, self.projector, keep=keep)
