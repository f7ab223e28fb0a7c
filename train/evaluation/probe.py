"""A classifier on a backbone: linear evaluation, and fine-tuning.

As the reference does it: pooled features of the frozen backbone in eval mode, one linear layer with
weights of N(0, 0.01) and no bias to begin with.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from ...model.method import Axis, Group, Method, Output

_HEAD_STD = 0.01


class Probe(Method):
    """Backbone and linear layer under cross-entropy."""

    axes: ClassVar = {
        "loss": Axis("cross-entropy", 0),
        "train_accuracy": Axis("accuracy of training batches, %", 0, 100),
    }

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_features: int,
        num_classes: int,
        head_scale: float | None = None,
    ) -> None:
        """
        Args:
            backbone: views → features.
            num_features: their width.
            num_classes: of the labels.
            head_scale: the head's rate over the backbone's, which is trained as well; None: the
                backbone is frozen.
        """
        super().__init__()
        self.backbone, self.num_features = backbone, num_features
        self.head = nn.Linear(num_features, num_classes)
        nn.init.normal_(self.head.weight, std=_HEAD_STD)
        nn.init.zeros_(self.head.bias)
        self._head_scale = head_scale
        backbone.requires_grad_(not self.is_frozen)
        self.train()

    @property
    def is_frozen(self) -> bool:
        """Whether the backbone stays as it is, its statistics included."""
        return self._head_scale is None

    def train(self, mode: bool = True) -> "Probe":
        """As of any module, but for a backbone that is frozen."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval()
        return self

    def classify(self, view: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) → logits (B, num_classes) in float32, whatever the backbone computes in."""
        if self.is_frozen:
            with torch.no_grad():
                features = self.backbone(view)
        else:
            features = self.backbone(view)
        with torch.autocast(view.device.type, enabled=False):
            return self.head(features.float())

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """Cross-entropy of the first view."""
        logits = self.classify(views[0])
        right = (logits.detach().argmax(dim=1) == labels).float()
        return Output(F.cross_entropy(logits, labels), {"train_accuracy": 100 * right.mean()}, ())

    def parameter_groups(self) -> list[Group]:
        """The head, and the backbone where it is trained."""
        head = list(self.head.parameters())
        if self._head_scale is None:
            return [Group(head, decays=True)]
        return [
            Group(list(self.backbone.parameters()), decays=True),
            Group(head, decays=True, scale=self._head_scale),
        ]
