"""What the methods have in common that compare views of a picture."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Literal

import torch
from torch import nn

from .backbones import build_backbone
from .heads import build_mlp
from .method import Axis, Course, Group, Method, ModelConfig, Output
from .statistics import effective_rank, normalized_std

NO_SPREAD = 0.05
"""z_std·√d below: all pictures have one projection, to within some thousandths of their cosine."""


class Siamese(Method):
    """A backbone, a projector, and a predictor that may be nothing."""

    axes: ClassVar = {
        "z_std": Axis("z_std·√d (healthy: 1, collapsed: 0)", 0, 1.1),
        "effective_rank": Axis("effective rank of z (collapsed: 1)", 0),
    }

    collapsed_std: float = NO_SPREAD
    least_rows = 4  # of a single one z_std is 0
    predictor_decays: ClassVar[bool] = False
    """Whether the predictor's rate follows the schedule whatever `optim.predictor_lr` says."""
    projector: nn.Module
    predictor: nn.Module

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.num_features = build_backbone(config.backbone)

    def build_projector(
        self, *, hidden_norm: bool = True, output_norm: bool = True
    ) -> nn.Sequential:
        """feature → projection, of the configuration's widths."""
        config = self.config
        hidden = config.projector_hidden or self.num_features
        widths = [self.num_features, *[hidden] * (config.projector_layers - 1)]
        return build_mlp(
            [*widths, config.projection_dim], hidden_norm=hidden_norm, output_norm=output_norm
        )

    def build_predictor(
        self,
        kind: Literal["mlp", "identity"] = "mlp",
        *,
        num_layers: int = 2,
        hidden_norm: bool = True,
        output_norm: bool = False,
    ) -> nn.Module:
        """projection → prediction: a bottleneck, as SimSiam's; identity: the projection itself."""
        if kind == "identity":
            return nn.Identity()
        width = self.config.projection_dim
        hidden = self.config.predictor_hidden or max(width // 4, 1)
        return build_mlp(
            [width, *[hidden] * (num_layers - 1), width],
            hidden_norm=hidden_norm,
            output_norm=output_norm,
        )

    def begin(self, course: Course) -> None:
        """Two views, no more; other methods say what else they take."""
        if len(course.sizes) != 2:
            raise ValueError(
                f"augment: {len(course.sizes)} views of a picture, and model.method="
                f"{self.config.method} takes 2; set augment.num_views=2 augment.small_views=0"
            )

    def encode(self, view: torch.Tensor) -> torch.Tensor:
        """One view → projection (B, projection_dim)."""
        return self.projector(self.backbone(view))

    def inspect(self, output: Output) -> dict[str, torch.Tensor]:
        return {"effective_rank": effective_rank(output.projections[0])}

    def diagnose(self, figures: Mapping[str, float]) -> str | None:
        """All pictures get one projection: z_std is below its limit."""
        z_std = figures.get("z_std", 1.0)
        if z_std > self.collapsed_std:
            return None
        return (
            f"z_std {z_std:.3f} (healthy: near 1) and loss {figures['loss']:.3f}: the projections "
            "of all pictures become one"
        )

    def parameter_groups(self) -> list[Group]:
        """All but the predictor, and the predictor, whose rate may stay: it adapts to the latest
        representations (section 4.2).
        """
        predictor = [p for p in self.predictor.parameters() if p.requires_grad]
        apart = set(map(id, predictor))
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in apart]
        groups = [Group(others, decays=True), Group(predictor, decays=self.predictor_decays)]
        return [group for group in groups if group.parameters]


def without_autocast(like: torch.Tensor) -> AbstractContextManager[object]:
    """In float32 on a tensor's device (TF32 where train.tf32 has it): for products of which a
    softmax is taken.
    """
    # Counting operations takes tensors without a device, which autocast does not know.
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


def summarise(loss: torch.Tensor, projections: list[torch.Tensor]) -> Output:
    """A step's output with z_std, the mean over the views."""
    kept = tuple(projection.detach() for projection in projections)
    z_std = torch.stack([normalized_std(projection) for projection in kept]).mean()
    return Output(loss, {"z_std": z_std}, kept)
