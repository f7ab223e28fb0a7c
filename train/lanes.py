"""How a step is computed: the lanes, each of which is switched by itself, and the step made of
them. A lane changes the speed, and the last bits at most; never the method.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from ..model.method import Method
from ..pipeline.errors import UserError
from .config import TrainConfig
from .device import build_autocast
from .optim import OptimConfig, build_optimizer, keep_rates_on_device
from .parallel import Sharing, wrap
from .step import TrainStep


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """Which of them are on; all off is the reference script's step."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    cudnn_benchmark: bool = False
    tf32: bool = False
    fused: bool = False
    compile: bool = False
    cuda_graph: bool = False


class Lane(NamedTuple):
    """A row of the table."""

    what: str
    """It does, in words."""
    when: str
    """It is on."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where it makes a difference."""


LANES = {
    "channels_last": Lane(
        "weights and views in NHWC, as the convolutions take them",
        "always; train.channels_last=false switches it off",
    ),
    "cudnn_benchmark": Lane(
        "cuDNN tries its algorithms in the first steps and keeps the fastest",
        "always: shapes never change",
        ("cuda",),
    ),
    "tf32": Lane(
        "float32 products with 10 bits of mantissa on the tensor cores",
        "always; train.tf32=false switches it off; kNN never uses it",
        ("cuda",),
    ),
    "precision": Lane(
        "the forward pass in bf16 or fp16 under autocast",
        "train.precision=auto: bf16 where the hardware has it, else fp16 on a GPU",
    ),
    "fused": Lane(
        "SGD in one kernel for each group of parameters, which skips a bad step by itself",
        "always; without it each step must wait for the device",
    ),
    "compile": Lane(
        "torch.compile: BatchNorm, ReLU and sums in one pass over memory",
        "train.compile=auto: on a GPU, where the run is long enough",
    ),
    "cuda_graph": Lane(
        "the whole step as one launch, where the host is what limits it",
        "train.cuda_graph=on, on one GPU",
        ("cuda",),
    ),
}
"""In the order in which the step benchmark switches them on; names are fields of `Lanes`."""


def choose_lanes(config: TrainConfig, *, world_size: int = 1) -> Lanes:
    """Those of a resolved configuration.

    Raises:
        UserError: a CUDA graph where none can be.
    """
    assert config.precision != "auto"
    is_cuda = config.device == "cuda"
    if config.cuda_graph == "on" and (not is_cuda or world_size > 1):
        where = f"in {world_size} processes" if is_cuda else "on a CPU"
        raise UserError(f"train.cuda_graph=on: there is none {where}; set train.cuda_graph=off")
    return Lanes(
        precision=config.precision,
        channels_last=config.channels_last,
        cudnn_benchmark=is_cuda,
        tf32=is_cuda and config.tf32,
        fused=True,
        compile=config.compile == "on",
        cuda_graph=config.cuda_graph == "on",
    )


def switch_on(lanes: Lanes, name: str, *, precision: str = "bf16") -> Lanes:
    """The same with one more; `precision` is that of the lane of this name."""
    return dataclasses.replace(lanes, **{name: precision if name == "precision" else True})


def set_flags(lanes: Lanes, device: str) -> None:
    """Set what torch has one of for all steps of a process."""
    if device == "cuda":
        torch.backends.cudnn.benchmark = lanes.cudnn_benchmark
        # By the older of two interfaces: whoever reads one after the other was set gets an error.
        torch.backends.cudnn.allow_tf32 = lanes.tf32
        torch.set_float32_matmul_precision("high" if lanes.tf32 else "highest")


def build_step(
    model: Method,
    optim: OptimConfig,
    lanes: Lanes,
    *,
    lr: float,
    sharing: Sharing | None = None,
) -> TrainStep:
    """The step that trains a model, which is wrapped in place, and its optimiser.

    Args:
        model: on its device.
        optim: of the optimiser.
        lanes: that are on.
        lr: the encoder's.
        sharing: the processes that share each batch, all of which call this.
    """
    sharing = sharing or Sharing()
    device = next(model.parameters()).device
    assert sharing.world.is_alone or not lanes.cuda_graph, "a graph holds no collectives"
    set_flags(lanes, device.type)
    forward = wrap(
        model, channels_last=lanes.channels_last, compiled=lanes.compile, sharing=sharing
    )
    optimizer = build_optimizer(model, optim, lr=lr, fused=lanes.fused)
    if lanes.cuda_graph:
        keep_rates_on_device(optimizer, device)
    return TrainStep(
        model,
        optimizer,
        autocast=build_autocast(lanes.precision, device.type),
        scaler=torch.amp.GradScaler(device.type, enabled=lanes.precision == "fp16"),
        forward=forward,
        world=sharing.world,
        captured=lanes.cuda_graph,
    )
