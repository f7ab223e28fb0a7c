"""What `bench step` races: plain loops, and our step with one lane more each time."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..model.method import Method, ModelConfig, build_method
from ..train.device import build_autocast
from ..train.lanes import LANES, Lanes, build_step, set_flags, switch_on
from ..train.optim import OptimConfig
from .inputs import make_views

_LR = 0.05


class Setting(NamedTuple):
    """What all contestants have in common."""

    model: ModelConfig
    batch_size: int
    size: int
    """Side of a view, px."""
    device: str
    precision: str
    """Of the lane of this name."""
    rounds: int
    steps: int
    """In a round."""


class Contestant(NamedTuple):
    """One way to take a step."""

    name: str
    what: str
    precision: str
    step: Callable[[], None]
    prepare: Callable[[], None] = lambda: None
    """Before its rounds: sets what torch has one of for all."""


def build_contestants(setting: Setting, names: list[str]) -> list[Contestant]:
    """The plain loops, and ours with one lane of `names` more each time."""
    found = [_plain(setting, "fp32", channels_last=False)]
    if setting.precision != "fp32":
        found.append(_plain(setting, setting.precision, channels_last=False))
    found.append(_plain(setting, setting.precision, channels_last=True))
    lanes = Lanes()
    found.append(_ours(setting, lanes, "none", "our step, no lane on"))
    for name in names:
        switched = switch_on(lanes, name, precision=setting.precision)
        if switched != lanes:  # a precision of fp32 is none
            lanes = switched
            found.append(_ours(setting, lanes, f"+ {name}", LANES[name].what))
    return found


def _build_model(setting: Setting) -> Method:
    torch.manual_seed(0)
    return build_method(setting.model).to(setting.device)


def _make_batch(
    setting: Setting, precision: str, layout: torch.memory_format
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Views of noise, and no labels."""
    count, device = setting.batch_size, setting.device
    views = make_views(count, setting.size, precision=precision, device=device, layout=layout)
    return views, torch.full((count,), -1, device=device)


def _plain(setting: Setting, precision: str, *, channels_last: bool) -> Contestant:
    """A loop as anybody writes it."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = _build_model(setting).to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=_LR,
        momentum=0.9,
        weight_decay=1e-4,
    )
    scaler = torch.amp.GradScaler(setting.device, enabled=precision == "fp16")
    autocast = build_autocast(precision, setting.device)
    views, labels = _make_batch(setting, "fp32", layout)

    def step() -> None:
        with autocast:
            loss = model(views, labels).loss
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    name = f"plain {precision}{' NHWC' if channels_last else ''}"
    what = f"a plain loop: {'NHWC' if channels_last else 'NCHW'}, torch's SGD, no guard"
    return Contestant(name, what, precision, step, lambda: _set_plain_flags(setting.device))


def _set_plain_flags(device: str) -> None:
    """torch's defaults, and the reference script's one setting."""
    set_flags(Lanes(cudnn_benchmark=True), device)
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = True


def _ours(setting: Setting, lanes: Lanes, name: str, what: str) -> Contestant:
    model = _build_model(setting)
    train = build_step(model, OptimConfig(), lanes, lr=_LR)
    layout = torch.channels_last if lanes.channels_last else torch.contiguous_format
    views, labels = _make_batch(setting, lanes.precision, layout)
    return Contestant(
        name,
        what,
        lanes.precision,
        lambda: train(views, labels),
        lambda: set_flags(lanes, setting.device),
    )
