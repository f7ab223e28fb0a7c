"""Two processes or more that measure, on CPUs, what `check` holds a forecast against.

Started by torchrun, one thread each. Round by round, in an order that is drawn and the same for
all: steps of the first process while the others wait, at the whole batch and at half of it; steps
of all at once, each for itself; the same with the BatchNorm that can be shared, among one process
alone; steps that are taken together; the sums and gathers of these by themselves; and, of all at
once, convolutions that take as long as what lies between two gathers, without and with one.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import torch.distributed as dist

from ...model.backbones import BackboneName
from ...model.method import ModelConfig, build_method
from ...model.normalisation import rank_batch_norms
from ...pipeline.files import write_atomically
from ...pipeline.world import World
from ...train.lanes import Lanes, build_step
from ...train.optim import OptimConfig
from ...train.parallel import Sharing
from ..inputs import make_views
from .exchange import count_exchange

_TIMEOUT_S = 120.0
_LR = 0.05
_WARM_UP = 2
_GATHERS, _SUMS = 200, 10  # in a round
_CHANNELS = 16
ALONE = ("idle", "half")
"""What the first process does while the others wait."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Of the processes."""

    backbone: str = "cifar_resnet18_w16"
    batch_size: int = 32
    """Of each."""
    size: int = 32
    """Side of a view, px."""
    rounds: int = 7
    steps: int = 2
    """In a round."""

    @property
    def model(self) -> ModelConfig:
        """That they train."""
        assert self.backbone in get_args(BackboneName)
        return ModelConfig(backbone=self.backbone, projector_layers=2)  # type: ignore[arg-type]


Round = dict[str, list[list[float]]]
"""Of each thing that was measured, seconds: of each process, of each time."""


def measure(setting: Setting, world: World) -> list[Round]:
    """All rounds, on every process the same."""
    things = _build(setting, world)
    for name, (do, _) in things.items():
        for _ in range(_WARM_UP if world.is_first or name not in ALONE else 0):
            do()
        world.wait()
    order = random.Random(0)
    rounds = []
    for _ in range(setting.rounds):
        own = {
            name: _time(world, name, *things[name]) for name in order.sample([*things], len(things))
        }
        every = world.gather(own)
        rounds.append({name: [each[name] for each in every] for name in things})
    return rounds


def _time(world: World, name: str, do: Callable[[], None], times: int) -> list[float]:
    world.wait()  # blocks: it takes no core from who is at work
    if name in ALONE and not world.is_first:
        return []
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        do()
        taken.append(time.perf_counter() - begun)
    return taken


def _build(setting: Setting, world: World) -> dict[str, tuple[Callable[[], None], int]]:
    """What is done, and how often in a round."""
    exchange = count_exchange(setting.model)
    groups = [dist.new_group([rank], backend="gloo") for rank in range(world.size)]
    plain = _step(setting)
    ranked = _step(setting, group=groups[world.rank])
    together = _step(setting, sharing=Sharing(world=world))
    piece = _piece(setting, world, ranked, num_pieces=exchange.num_gathers + 1)
    summed = torch.zeros(exchange.gradient_bytes // 4)
    given = torch.zeros(1, exchange.gathered_bytes // exchange.num_gathers // 4)
    name, operators = world.layer_group.group_name, torch.ops._c10d_functional

    def add() -> None:
        dist.all_reduce(summed, group=world.group)

    def gather() -> None:  # as RankedBatchNorm does it
        operators.wait_tensor(operators.all_gather_into_tensor(given, world.size, name))

    def paced() -> None:
        piece()
        gather()

    return {
        "idle": (plain, setting.steps),
        "half": (_step(setting, share=2), setting.steps),
        "busy": (plain, setting.steps),
        "ranked": (ranked, setting.steps),
        "together": (together, setting.steps),
        "piece": (piece, setting.steps * exchange.num_gathers),
        "paced": (paced, setting.steps * exchange.num_gathers),
        "sum": (add, _SUMS),
        "gather": (gather, _GATHERS),
    }


def _piece(
    setting: Setting, world: World, step: Callable[[], None], *, num_pieces: int
) -> Callable[[], None]:
    """Convolutions of one kind that take a step in so many pieces, as many on each process."""
    shape = setting.batch_size, _CHANNELS, setting.size, setting.size
    images = torch.ones(shape).contiguous(memory_format=torch.channels_last)
    convolve = torch.nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1)

    @torch.inference_mode()
    def work(times: int = 1) -> None:
        for _ in range(times):
            convolve(images)

    def count() -> int:
        taken = []
        for do in (step, work):
            do()
            begun = time.perf_counter()
            do()
            taken.append(time.perf_counter() - begun)
        return max(round(taken[0] / taken[1] / num_pieces), 1)

    times = world.once(count)
    return lambda: work(times)


def _step(
    setting: Setting,
    *,
    share: int = 1,
    group: Any = None,
    sharing: Sharing | None = None,
) -> Callable[[], None]:
    """A training step on a cached batch, in float32."""
    torch.manual_seed(0)
    model = build_method(setting.model)
    if group is not None:
        rank_batch_norms(model, group)
    lanes = Lanes(channels_last=True, fused=True)
    train = build_step(model, OptimConfig(), lanes, lr=_LR, sharing=sharing)
    count = setting.batch_size // share
    views = make_views(count, setting.size, precision="fp32", device="cpu")
    labels = torch.full((count,), -1)
    return lambda: train(views, labels)


def main(argv: list[str]) -> int:
    """Measure, and write the rounds where the first argument says; the second is the setting."""
    path, setting = Path(argv[0]), Setting(**json.loads(argv[1]))
    torch.set_num_threads(1)
    with World.join(timeout_s=_TIMEOUT_S) as world:
        world.settle(device="cpu", timeout_s=_TIMEOUT_S)
        rounds = measure(setting, world)
        if world.is_first:
            write_atomically(path, json.dumps(rounds).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
