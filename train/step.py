"""One optimisation step, and the running figures that stay on the device between log points."""

from typing import Any

import torch

from ..model.method import Method, Output
from ..pipeline.world import World
from .graph import Captured
from .parallel import Forward, unwrap_compiled


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
    the optimiser, a fused one, skips by a flag that stays on the device. BatchNorm's running
    statistics have taken the forward pass in by then, so `check` must be called before anything is
    kept.
    """

    def __init__(
        self,
        model: Method,
        optimizer: torch.optim.Optimizer,
        *,
        autocast: torch.autocast,
        scaler: torch.amp.GradScaler,
        forward: Forward | None = None,
        world: World | None = None,
        captured: bool = False,
    ) -> None:
        """
        Args:
            model: what is trained.
            optimizer: over its parameters; one that is not fused waits for the device.
            autocast: the forward pass's context.
            scaler: enabled in fp16.
            forward: of `parallel.wrap`, to be called in the model's place.
            world: the processes that share each batch.
            captured: as a CUDA graph.
        """
        self.optimizer = optimizer
        self._model = model
        self._forward = forward or model
        self._world = world or World()
        self._autocast = autocast
        self._scaler = scaler
        device = next(model.parameters()).device
        self._names: tuple[str, ...] = ()  # of the figures that are summed, known by a first step
        self._sums = torch.zeros(0, device=device)
        self._num_good = torch.zeros((), device=device)
        self._count = 0
        self._last: Output | None = None
        self._diverged = torch.zeros((), device=device)  # 1 from the first bad step on
        self._one = torch.ones((), device=device)
        self._captured = Captured(self._compute) if captured else None
        self._notes: list[str] = []
        # The first call may find that the compiler cannot do it.
        self._is_to_compile = model._compiled_call_impl is not None

    def __call__(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> None:
        """Train on one batch: views of (B, 3, H, W) and labels (B,) on the model's device."""
        self._last = None  # what it holds would lie beside what this step needs
        if self._is_to_compile:
            self._last = self._compile(views, labels)
        else:
            self._last = (self._captured or self._compute)(views, labels)
        self._count += 1

    def _compute(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """All that happens on the device; a graph may be captured of it."""
        with self._autocast:
            output: Output = self._forward(views, labels)
        loss = output.loss
        is_bad = (~torch.isfinite(loss.detach())).float()
        torch.maximum(self._diverged, is_bad, out=self._diverged)
        # Multiplied by NaN all gradients are NaN, on each rank that shares the batch; by one they
        # keep their bits.
        poisoned = loss * torch.where(self._diverged > 0, float("nan"), self._one)
        if self._scaler.is_enabled():
            self._update_scaled(poisoned)
        else:
            poisoned.backward()
            self._update()
        self.optimizer.zero_grad(set_to_none=True)
        self._model.after_step()
        self._add({"loss": loss.detach().float(), **output.figures})
        return output._replace(loss=loss.detach())

    def _compile(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The first step, from which the model is compiled; as it is where that fails."""
        from torch._dynamo.exc import TorchDynamoException  # takes a second, which others keep

        self._is_to_compile = False
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        try:
            return self._compute(views, labels)
        except TorchDynamoException as error:
            reason = " ".join(str(error).split("\n")[:2])  # whose backend, and its error
            self._notes.append(
                f"train.compile: failed, and the run goes on without it ({reason:.200}); set "
                "train.compile=off to spare the attempt"
            )
        unwrap_compiled(self._model)
        with torch.no_grad():
            for buffer, before in buffers:  # of BatchNorm: a failure may come behind the forward
                buffer.copy_(before)
        self.optimizer.zero_grad(set_to_none=True)
        return self._compute(views, labels)

    def _add(self, figures: dict[str, torch.Tensor]) -> None:
        if self._names != tuple(figures):
            self._names = tuple(figures)
            # Of a checkpoint whose version had other figures: these begin anew.
            self._sums, self._count = self._sums.new_zeros(len(figures)), 0
            self._num_good.zero_()
        self._sums += torch.stack(tuple(figures.values()))
        self._num_good += 1 - self._diverged

    def _update(self) -> None:
        """Step, unless a gradient is not finite or something was not before."""
        gradients = [
            parameter.grad
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        # GradScaler's own check; multiplied by one the gradients keep their bits.
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self._diverged, self._one)
        if self.optimizer.defaults.get("fused"):
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.found_inf = self._diverged  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not self._diverged.item():
            self.optimizer.step()

    def _update_scaled(self, loss: torch.Tensor) -> None:
        """In fp16 gradients overflow as a rule and the scaler skips; a bad loss is none of that."""
        self._scaler.scale(loss).backward()
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def take_notes(self) -> list[str]:
        """What people should be told since the last call."""
        if self._captured and self._captured.failure:
            self._notes.append(
                f"train.cuda_graph: the run goes on without it ({self._captured.failure})"
            )
            self._captured = None
        notes, self._notes = self._notes, []
        return notes

    def take_figures(self, *, inspected: bool = False) -> dict[str, float]:
        """Means since the last call, `loss` first, and over all ranks, each of which calls it. This
        waits for the device.

        Args:
            inspected: with those of `Method.inspect`, of the last batch alone.

        Raises:
            DivergedError: a step since then had a loss or a gradient that is not finite.
        """
        self.check()
        means = [total / self._count for total in self._sums.tolist()]
        figures = dict(zip(self._names, means, strict=True))
        if inspected and self._last is not None:
            rows = tuple(map(self._world.gather_rows, self._last.projections))
            more = self._model.inspect(self._last._replace(projections=rows))
            figures |= {name: float(value) for name, value in more.items()}
        self._sums.zero_()
        self._num_good.zero_()
        self._count = 0
        return dict(zip(figures, self._world.mean(list(figures.values())), strict=True))

    def check(self) -> None:
        """Make sure that the weights may be kept; all ranks call it. This waits for the device.

        Raises:
            DivergedError: see `take_figures`.
        """
        # In fp16 a rank does not see that another's loss was bad, only that gradients were.
        num_good = int(self._world.least(self._num_good.item()))
        if num_good < self._count:
            raise DivergedError(num_good=num_good, num_steps=self._count)

    def state(self) -> dict[str, Any]:
        """For a checkpoint between two log points, of all ranks, each of which calls it."""
        sums = self._sums.new_tensor(self._world.mean(self._sums.tolist()))
        return {
            "sums": dict(zip(self._names, sums.unbind(), strict=True)),
            "num_good": self._num_good,
            "count": self._count,
            "scaler": self._scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue behind `state`."""
        state = _of_this_version(state)
        self._names = tuple(state["sums"])
        self._sums = self._sums.new_tensor([float(value) for value in state["sums"].values()])
        self._num_good.fill_(float(state["num_good"]))
        self._count = state["count"]
        if state["scaler"]:  # empty where the steps before were not in fp16
            self._scaler.load_state_dict(state["scaler"])


def _of_this_version(state: dict[str, Any]) -> dict[str, Any]:
    """Of version 0.1.0, whose sums were one tensor: loss, z_std and, later, the good steps."""
    if isinstance(state["sums"], dict):
        return state
    loss, z_std, *good = state["sums"].tolist()
    num_good = good[0] if good else state["count"]
    return state | {"sums": {"loss": loss, "z_std": z_std}, "num_good": num_good}
