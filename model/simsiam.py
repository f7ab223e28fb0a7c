"""SimSiam (Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from pydantic import ConfigDict
from torch import nn

from .backbones import BackboneName, build_backbone
from .heads import build_predictor, build_projector


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The section `model` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    backbone: BackboneName = "resnet50"
    """torchvision's ResNets, or cifar_resnet18 (3×3 stem), _w32 and _w16 (narrower)."""
    projector_layers: Literal[2, 3] = 3
    """3 for ImageNet, 2 for CIFAR-10."""
    projector_hidden: Annotated[int, Ge(1), Le(65_536)] | None = None
    """Hidden width; null: the backbone's own, as in the reference code (2048 for ResNet-50)."""
    projection_dim: Annotated[int, Ge(1), Le(65_536)] = 2048
    """Width of projection and prediction."""
    predictor_hidden: Annotated[int, Ge(1), Le(65_536)] | None = None
    """The predictor's bottleneck; null: a quarter of projection_dim."""


class SimSiamOutput(NamedTuple):
    """What a step needs, and what shows a collapse."""

    loss: torch.Tensor
    """Scalar, float32, from -1."""
    z1: torch.Tensor
    """(B, projection_dim), detached."""
    z2: torch.Tensor
    """(B, projection_dim), detached."""


def negative_cosine(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """D(p, z): minus the cosine similarity, mean over the batch; in float32 whatever the inputs."""
    return -F.cosine_similarity(prediction.float(), target.float(), dim=1).mean()


class SimSiam(nn.Module):
    """Backbone, projector and predictor around one symmetric loss."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone, self.num_features = build_backbone(config.backbone)
        self.projector = build_projector(
            self.num_features,
            num_layers=config.projector_layers,
            hidden=config.projector_hidden or self.num_features,
            output=config.projection_dim,
        )
        self.predictor = build_predictor(
            config.projection_dim,
            hidden=config.predictor_hidden or max(config.projection_dim // 4, 1),
        )

    def encode(self, view: torch.Tensor) -> torch.Tensor:
        """One view → projection (B, projection_dim)."""
        return self.projector(self.backbone(view))

    def forward(self, view1: torch.Tensor, view2: torch.Tensor) -> SimSiamOutput:
        """Two views of the same pictures, each (B, 3, H, W), normalised.

        The views pass one after the other: BatchNorm's statistics are per view (section 3).
        """
        z1, z2 = self.encode(view1), self.encode(view2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        target1, target2 = z1.detach(), z2.detach()  # the stop-gradient
        loss = 0.5 * negative_cosine(p1, target2) + 0.5 * negative_cosine(p2, target1)
        return SimSiamOutput(loss, target1, target2)
