"""SimSiam's variants and relatives on the card: compiled and captured they are what they are."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from ...model.method import Course, build_method, config_class
from ...train.lanes import Lanes, build_step
from ...train.optim import OptimConfig
from ...train.step import TrainStep
from ..inputs import make_views
from .context import Context, Record

_EAGER = Lanes(channels_last=True, fused=True)
_BASE: dict[str, Any] = {
    "backbone": "cifar_resnet18_w16",
    "projector_layers": 2,
    "projector_hidden": 64,
    "projection_dim": 64,
}
_VARIANTS: dict[str, dict[str, Any]] = {
    "simsiam": {},
    "held": {"method": "simsiam_variant", "target": "held", "hold_steps": 3},
    "picture average": {
        "method": "simsiam_variant",
        "target": "picture_average",
        "target_velocity": 0.5,
        "predictor": "identity",
    },
    "other views": {"method": "simsiam_variant", "target": "other_views"},
    "simclr": {"method": "simclr"},
    "byol": {"method": "byol", "predictor_hidden": 64},
    "moco": {"method": "moco", "queue": 100},
    "swav": {"method": "swav", "prototypes": 20},
}
_REHEARSED = ("held", "moco")  # compiled on a CPU too, where tracing is what takes the time
_ROWS, _SIDE, _STEPS, _PICTURES = 32, 32, 8, 128
_WITHIN = 2e-2  # of a loss, over some steps in float32: convolutions sum in other orders


def methods(context: Context) -> Iterator[Record]:
    """Each method's losses over some steps, as it is, compiled, and as a captured graph."""
    for name, keys in _VARIANTS.items():
        expected = _train(context, keys, _EAGER)
        yield _check_waits(context, name, keys)
        lanes = {}
        if context.is_cuda or name in _REHEARSED:
            lanes["compiled"] = replace(_EAGER, compile=True)
        if context.is_cuda:
            lanes["captured"] = replace(_EAGER, cuda_graph=True)
        for lane, chosen in lanes.items():
            found = _train(context, keys, chosen)
            worst = max(abs(a - b) / max(abs(b), 0.1) for a, b in zip(found, expected, strict=True))
            yield context.check(f"{name}, {lane}: the same losses", worst < _WITHIN, worst=worst)


def _build(context: Context, keys: dict[str, Any], lanes: Lanes) -> TrainStep:
    torch.manual_seed(0)
    made = config_class(keys.get("method", "simsiam"))(**_BASE | keys)
    model = build_method(made)
    model.begin(
        Course(
            sizes=(_SIDE, _SIDE),
            num_pictures=_PICTURES,
            batch_size=_ROWS,
            steps_per_epoch=_PICTURES // _ROWS,
            num_steps=_STEPS,
        )
    )
    model.to(context.device)
    if lanes.compile and not context.is_cuda:
        model.compile(fullgraph=True, backend="eager")
        lanes = replace(lanes, compile=False)
    return build_step(model, OptimConfig(), lanes, lr=0.05)


def _batch(context: Context, number: int) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    torch.manual_seed(number)
    views = make_views(_ROWS, _SIDE, precision="fp32", device=context.device)
    index = (torch.arange(_ROWS, device=context.device) + number * _ROWS) % _PICTURES
    return views, index


def _train(context: Context, keys: dict[str, Any], lanes: Lanes) -> list[float]:
    """The loss of each step."""
    step = _build(context, keys, lanes)
    losses = []
    for number in range(_STEPS):
        step(*_batch(context, number))
        losses.append(step.take_figures()["loss"])
    return losses


def _check_waits(context: Context, name: str, keys: dict[str, Any]) -> Record:
    step = _build(context, keys, _EAGER)
    batch = _batch(context, 0)
    for _ in range(3):
        step(*batch)
    try:
        with context.waits_refused():
            step(*batch)
    except RuntimeError as error:
        return context.check(f"{name}: no wait in a step", False, error=str(error)[:500])
    return context.check(f"{name}: no wait in a step", True)
