"""SGD as the paper has it: weight decay on everything, the predictor's rate constant; and LARS."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict

from ..model.method import Method
from .schedule import LearningRate

_TRUST = 0.001


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The section `optim` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    base_lr: Annotated[float, Gt(0)] = 0.05
    """Learning rate for a batch of 256; scaled linearly with the batch."""
    optimizer: Literal["sgd", "lars"] = "sgd"
    """sgd: as in the paper; lars: each layer at a rate of its own, for large batches and heads."""
    momentum: Annotated[float, Ge(0)] = 0.9
    """Of either."""
    weight_decay: Annotated[float, Ge(0)] = 1e-4
    """On all parameters, BatchNorm's and biases included."""
    predictor_lr: Literal["constant", "decayed"] = "constant"
    """constant, as released: the predictor adapts to the latest representations (section 4.2)."""
    schedule: Literal["step", "epoch"] = "step"
    """How often the cosine moves; the reference moves it each epoch."""
    warmup_epochs: Annotated[int, Ge(0), Le(1_000_000)] | None = None
    """Linear warm-up; null: 10 for batches of 1,024 and more, else none (section 4.3)."""


def build_optimizer(
    model: Method, config: OptimConfig, *, lr: float, fused: bool = True
) -> torch.optim.Optimizer:
    """The optimiser over the method's groups of parameters, each with its own rate.

    SGD is fused, since only that kind can skip a step by a flag on the device (see `TrainStep`);
    torch's own choice for comparison. LARS waits for the device instead.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": group.parameters,
            "decays": group.decays or config.predictor_lr == "decayed",
            "scale": group.scale,
            "lr": lr * group.scale,
        }
        for group in model.parameter_groups()
    ]
    options: dict[str, Any] = {
        "lr": lr,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "lars":
        from timm.optim import Lars  # takes a second, which others keep

        # As apex's LARC around SGD, which the reference evaluates with: also without weight decay.
        optimizer = Lars(groups, trust_coeff=_TRUST, always_adapt=True, **options)
    else:
        optimizer = torch.optim.SGD(groups, fused=fused, **options)
    if config.momentum:
        # A first step that is skipped would leave the buffer that it makes uninitialised.
        for group in groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def keep_rates_on_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Make the learning rates tensors, which a CUDA graph reads anew in each replay."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take the momentum of a saved optimiser; rates and decay stay those of the configuration."""
    options = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": options})


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: LearningRate, *, step: int) -> float:
    """Give each group its rate for this step; returns the encoder's."""
    current = rate.at(step)
    for group in optimizer.param_groups:
        lr = group["scale"] * (current if group["decays"] else rate.constant_at(step))
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)  # in its place, where a graph looks for it
        else:
            group["lr"] = lr
    return current


def build_learning_rate(
    config: OptimConfig, *, batch_size: int, epochs: int, steps_per_epoch: int
) -> LearningRate:
    """The schedule for this batch size and length."""
    warmup_epochs = config.warmup_epochs
    if warmup_epochs is None:
        warmup_epochs = 10 if batch_size >= 1024 else 0
    return LearningRate(
        peak=config.base_lr * batch_size / 256,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=min(warmup_epochs, epochs - 1),
        per_epoch=config.schedule == "epoch",
    )
