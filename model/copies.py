"""An encoder that learns by copying another: held for some steps, or following slowly."""

import copy
import math

import torch
from torch import nn


class EncoderCopy(nn.Module):
    """Backbone and projector as they were at some time, without gradients.

    Its BatchNorms take the statistics of the batch, as the ones do that it was copied from.
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.projector = copy.deepcopy(projector).requires_grad_(False)

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) → projection (B, d)."""
        with torch.no_grad():
            return self.projector(self.backbone(view))

    def follow(self, backbone: nn.Module, projector: nn.Module, *, keep: torch.Tensor) -> None:
        """Each weight becomes keep × its own + (1 - keep) × the other's.

        Args:
            backbone, projector: to be followed.
            keep: scalar from 0 to 1 on their device; a tensor, which no step waits for.
        """
        mine: list[torch.Tensor] = [*self.backbone.parameters(), *self.projector.parameters()]
        theirs = [p.detach() for p in (*backbone.parameters(), *projector.parameters())]
        torch._foreach_mul_(mine, keep)
        torch._foreach_add_(mine, torch._foreach_mul(theirs, 1 - keep))


class MomentumSchedule(nn.Module):
    """How much a copy keeps of itself in each step."""

    done: torch.Tensor

    def __init__(self, base: float, *, rises: bool) -> None:
        """
        Args:
            base: in the first step.
            rises: to 1 in the last one, along a cosine (BYOL, section 3.3).
        """
        super().__init__()
        self._base, self._rises = base, rises
        self.num_steps = 1
        self.register_buffer("done", torch.zeros((), dtype=torch.float64))

    def step(self) -> torch.Tensor:
        """That of this step, a float32 scalar on the device; the next call is the next step's."""
        share = (
            (self.done / self.num_steps).clamp(max=1)
            if self._rises
            else torch.zeros_like(self.done)
        )
        keep = 1 - (1 - self._base) * (torch.cos(math.pi * share) + 1) / 2
        self.done += 1
        return keep.float()
