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


class DivergedError(Exception):
    """A loss or a gradient was not finite. The weights are those before it."""

    def __init__(self, *, num_good: int, num_steps: int) -> None:
        """
        Args:
            num_good: steps since the last log point that went well before it.
            num_steps: steps since then.
        """
        super().__init__(num_good, num_steps)
        self.num_lost = num_steps - num_good
        """Steps from it on, which have changed no weight."""


class TrainStep:
    """Forward, backward, update. Nothing here waits for the device.

    A loss or a gradient that is not finite never reaches the weights, nor does any step after it:
    the optimiser, which must be a fused one, skips by a flag that stays on the device. BatchNorm's
    running statistics have taken the forward pass in by then, so `check` must be called before
    anything is kept.
    """

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
        self._sums = torch.zeros(3, device=device)  # loss, z_std, good steps
        self._count = 0
        self._diverged = torch.zeros((), device=device)  # 1 from the first bad step on
        self._one = torch.ones((), device=device)

    def __call__(self, view1: torch.Tensor, view2: torch.Tensor) -> None:
        """Train on one batch: two (B, 3, H, W) views on the model's device."""
        with self._autocast:
            loss, z1, z2 = self._forward(view1, view2)
        is_bad = (~torch.isfinite(loss.detach())).float()
        self._diverged = torch.maximum(self._diverged, is_bad)
        if self._scaler.is_enabled():
            self._update_scaled(loss)
        else:
            loss.backward()
            self._update()
        self._optimizer.zero_grad(set_to_none=True)
        z_std = 0.5 * (normalized_std(z1) + normalized_std(z2))
        self._sums += torch.stack((loss.detach().float(), z_std, 1 - self._diverged))
        self._count += 1

    def _update(self) -> None:
        """Step, unless a gradient is not finite or something was not before."""
        gradients = [
            parameter.grad
            for group in self._optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        # GradScaler's own check; multiplied by one the gradients keep their bits.
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self._diverged, self._one)
        self._optimizer.grad_scale = None  # type: ignore[attr-defined]
        self._optimizer.found_inf = self._diverged  # type: ignore[attr-defined]
        self._optimizer.step()

    def _update_scaled(self, loss: torch.Tensor) -> None:
        """In fp16 gradients overflow as a rule and the scaler skips; a bad loss is none of that."""
        # Multiplied by NaN, all gradients are NaN, and the scaler skips this step as well.
        factor = torch.where(self._diverged > 0, float("nan"), self._one)
        self._scaler.scale(loss * factor).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def take_figures(self) -> StepFigures:
        """Means since the last call. This waits for the device.

        Raises:
            DivergedError: a step since then had a loss or a gradient that is not finite.
        """
        loss, z_std, num_good = self._sums.tolist()
        if num_good < self._count:
            raise DivergedError(num_good=int(num_good), num_steps=self._count)
        figures = StepFigures(loss / self._count, z_std / self._count)
        self._sums.zero_()
        self._count = 0
        return figures

    def check(self) -> None:
        """Make sure that the weights may be kept. This waits for the device.

        Raises:
            DivergedError: see `take_figures`.
        """
        num_good = int(self._sums[2].item())
        if num_good < self._count:
            raise DivergedError(num_good=num_good, num_steps=self._count)

    def state(self) -> dict[str, Any]:
        """For a checkpoint between two log points."""
        return {"sums": self._sums, "count": self._count, "scaler": self._scaler.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue behind `state`."""
        sums = state["sums"]
        if len(sums) == 2:  # of version 0.1, which did not count the good steps
            sums = torch.cat((sums, sums.new_tensor([float(state["count"])])))
        self._sums.copy_(sums)
        self._count = state["count"]
        if state["scaler"]:  # empty where the steps before were not in fp16
            self._scaler.load_state_dict(state["scaler"])
