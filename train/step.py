"""One optimisation step, and the running figures that stay on the device between log points."""

from typing import Any, NamedTuple

import torch

from ..model.simsiam import SimSiam
from ..model.statistics import normalized_std


class StepFigures(NamedTuple):
    """Means over the steps since the last log point."""

    loss: float
    z_std: float
    """Times √d: near 1 when healthy, 0 when collapsed."""


class TrainStep:
    """Forward, backward, update. Nothing here waits for the device."""

    def __init__(
        self,
        model: SimSiam,
        optimizer: torch.optim.Optimizer,
        *,
        autocast: torch.autocast,
        scaler: torch.amp.GradScaler,
        compiled: bool = False,
    ) -> None:
        self._forward = torch.compile(model) if compiled else model
        self._optimizer = optimizer
        self._autocast = autocast
        self._scaler = scaler
        device = next(model.parameters()).device
        self._sums = torch.zeros(2, device=device)
        self._count = 0

    def __call__(self, view1: torch.Tensor, view2: torch.Tensor) -> None:
        """Train on one batch: two (B, 3, H, W) views on the model's device."""
        with self._autocast:
            loss, z1, z2 = self._forward(view1, view2)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        z_std = 0.5 * (normalized_std(z1) + normalized_std(z2))
        self._sums += torch.stack((loss.detach(), z_std))
        self._count += 1

    def take_figures(self) -> StepFigures:
        """Means since the last call. This waits for the device."""
        loss, z_std = (self._sums / self._count).tolist()
        self._sums.zero_()
        self._count = 0
        return StepFigures(loss, z_std)

    def state(self) -> dict[str, Any]:
        """For a checkpoint between two log points."""
        return {"sums": self._sums, "count": self._count, "scaler": self._scaler.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue behind `state`."""
        self._sums.copy_(state["sums"])
        self._count = state["count"]
        self._scaler.load_state_dict(state["scaler"])
