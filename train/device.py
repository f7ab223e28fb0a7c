"""What to run on and at which precision, decided once and written into the run's configuration."""

import contextlib
import time
from typing import NamedTuple

import torch

from ..pipeline.augment.spec import build_train_specs
from ..pipeline.config import choose_engine
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..pipeline.placement import Machine, choose_placement
from ..pipeline.sources import Source, recognise
from .config import Config, replace
from .flops import count_flops

# Estimates, for the question of whether compiling pays. A fast card (H100) takes some 2,500
# pictures/s of ResNet-50 without it, 49 GFLOP each; a step has some 2,000 launches of 10 us.
_EAGER_FLOPS = 1.2e14
_EAGER_STEP_S = 0.02
_PAYS_FROM_S = 600.0


class Choice(NamedTuple):
    """Something decided, and why."""

    name: str
    why: str


def choose_device(asked: str) -> Choice:
    """cpu or cuda."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device=cuda: torch sees no CUDA device; use train.device=cpu")
    if asked != "auto":
        return Choice(asked, "asked for by train.device")
    if torch.cuda.is_available():
        return Choice("cuda", torch.cuda.get_device_name())
    return Choice("cpu", "torch sees no CUDA device")


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 is computed natively, not emulated."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(flag in _cpu_flags() for flag in ("avx512_bf16", "amx_bf16"))


def _cpu_flags() -> frozenset[str]:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def choose_precision(asked: str, device: str) -> Choice:
    """fp32, bf16 or fp16."""
    if asked == "fp16" and device == "cpu":
        raise UserError("train.precision=fp16: needs a CUDA device; use bf16 or fp32 on a CPU")
    if asked != "auto":
        return Choice(asked, "asked for by train.precision")
    if has_fast_bf16(device):
        return Choice("bf16", "native here")
    if device == "cuda":
        return Choice("fp16", "this device has no native bf16")
    return Choice("fp32", "this CPU has no native bf16")


def choose_compile(asked: str, device: str, *, steps: int, flops: float) -> Choice:
    """on or off; on only where it works, which is tried.

    Args:
        asked: auto, on or off.
        device: cpu or cuda.
        steps: that the run takes.
        flops: of one step on one GPU.

    Raises:
        UserError: it is asked for and does not work.
    """
    if asked == "off":
        return Choice(asked, "asked for by train.compile")
    if asked == "auto" and device == "cpu":
        return Choice("off", "on a CPU compiling takes longer than it saves in a short run")
    expected_s = steps * max(flops / _EAGER_FLOPS, _EAGER_STEP_S)
    if asked == "auto" and expected_s < _PAYS_FROM_S:
        return Choice(
            "off",
            f"its {steps:,} steps should take about {expected_s:,.0f} s without it, and compiling "
            "takes a minute or two",
        )
    failure = try_compile(device)
    if failure is None and asked == "auto":
        return Choice("on", f"pays within a run of {steps:,} steps")
    if failure is None:
        return Choice("on", "asked for by train.compile")
    if asked == "on":
        raise UserError(
            f"train.compile=on: torch.compile does not work here ({failure}); install a C++ "
            "compiler (sudo apt-get install -y g++ python3-dev), or set train.compile=off"
        )
    return Choice("off", f"torch.compile does not work here: {failure}")


def try_compile(device: str) -> str | None:
    """Compile something small. Returns why that failed, or None."""
    unheard_of = time.time_ns() % 1_000_003 / 1000  # or an earlier result would come from the disk

    def probe(x: torch.Tensor) -> torch.Tensor:
        return (x * unheard_of).sin()

    try:
        torch.compile(probe)(torch.ones(64, device=device))
    except (RuntimeError, OSError, ImportError, KeyError) as error:  # torch's are RuntimeErrors
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
    return None


def choose_num_workers(config: Config, device: str, *, cores: int) -> int:
    """Loader processes or threads. All cores but one feed a GPU: the thread that launches its work
    must not wait. On a CPU the step needs the cores itself.
    """
    if config.data.num_workers is not None:
        return config.data.num_workers
    return max(cores - 1 if device == "cuda" else cores // 2, 1)


class Resolved(NamedTuple):
    """A configuration without `auto` but where that depends on the data, and the reasons to
    print.
    """

    config: Config
    reasons: dict[str, Choice]


def resolve(config: Config, *, sharing: int = 1) -> Resolved:
    """Decide everything that depends on the machine, so that a resumed run decides the same.

    Args:
        config: with `auto` in it.
        sharing: processes that this machine's cores are for.
    """
    cores = max(num_cores() // sharing, 1)
    device = choose_device(config.train.device)
    precision = choose_precision(config.train.precision, device.name)
    formats = {
        recognise(path, field=f"data.{name}")
        for name in ("path", "val_path")
        if (path := getattr(config.data, name))
    }
    engine = Choice(*choose_engine(config.loader, formats=formats, device=device.name))
    resolved = replace(
        config,
        data={"num_workers": choose_num_workers(config, device.name, cores=cores)},
        loader={"engine": engine.name},
        train={
            "device": device.name,
            "precision": precision.name,
            "num_threads": config.train.num_threads or cores,
        },
    )
    reasons = {
        "device": device,
        "precision": precision,
        "engine": engine,
    }
    return Resolved(resolved, reasons)


def place_views(config: Config, source: Source) -> tuple[Config, Choice]:
    """Decide where the views are made, for which the pictures are looked at.

    Args:
        config: of `resolve`.
        source: to be trained on.

    Raises:
        UserError: see `choose_placement`.
    """
    placement = choose_placement(
        config.loader,
        source=source,
        engine=config.loader.engine,
        ops=config.augment.ops,
        machine=Machine.look(config.train.device),
    )
    resident = "on" if placement.is_resident else "off"
    placed = replace(config, loader={"device": placement.name, "resident": resident})
    return placed, Choice(f"made on the {placement.name.upper()}", placement.why)


def settle_compile(config: Config, *, steps: int) -> tuple[Config, Choice]:
    """Decide whether compiling pays.

    Args:
        config: of `place_views`.
        steps: of the whole run.

    Raises:
        UserError: see `choose_compile`.
    """
    asked, flops = config.train.compile, 0.0
    if asked == "auto" and config.train.device == "cuda":
        sizes = tuple(spec.size for spec in build_train_specs(config.augment))
        each = count_flops(config.model, sizes=sizes)
        flops = each * config.train.batch_size
    choice = choose_compile(asked, config.train.device, steps=steps, flops=flops)
    return replace(config, train={"compile": choice.name}), choice


def build_autocast(precision: str, device: str) -> torch.autocast:
    """The forward pass's context; fp32 switches it off."""
    dtype = {"fp32": torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device, dtype=dtype, enabled=precision != "fp32")


def view_dtype(precision: str, *, loader_device: str) -> torch.dtype:
    """Of the loader's views: what the first convolution takes; the CPU kernel makes no float16."""
    half = torch.float16 if loader_device == "gpu" else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": half}[precision]
