"""A training job: everything that a run trains with, made from its configuration."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..model.method import Method
from ..pipeline.building import build_loader
from ..pipeline.contract import Batch
from ..pipeline.engines import RESIDENT
from ..pipeline.errors import UserError
from ..pipeline.loader import Loader
from ..pipeline.sources import Source, open_source
from ..pipeline.stages import Stages
from ..pipeline.world import World
from .config import Config, TrainConfig
from .course import begin_method
from .device import Choice, place_views, settle_compile, view_dtype
from .lanes import build_step, choose_lanes
from .optim import build_learning_rate, load_optimizer
from .parallel import Sharing
from .schedule import LearningRate
from .step import TrainStep
from .task import Task


@dataclass(kw_only=True)
class Job:
    """Everything that a run trains with, and the number of steps it has done."""

    config: Config
    source: Source
    loader: Loader
    model: Method
    optimizer: torch.optim.Optimizer
    train_step: TrainStep
    rate: LearningRate
    listing: dict[str, Any]
    """`digest` and `count` of the pictures that it trains on."""
    step: int = 0
    offset: int = 0
    """What the schedule is ahead of `step`: not 0 once the pictures have changed in mid-run, since
    then an epoch has another number of steps."""
    place: dict[str, int]
    """The loader's, behind the last batch that was trained on."""
    decided: dict[str, Choice]
    """What depends on the data: where views are made, whether compiling pays; and why."""
    world: World
    """The processes that share it."""
    task: Task
    """What it is for."""

    @property
    def scheduled_step(self) -> int:
        """`step` as the schedule counts it: over epochs of the pictures as they are now."""
        return self.step + self.offset

    @property
    def total_steps(self) -> int:
        """Of the whole run."""
        return self.rate.epochs * self.rate.steps_per_epoch - self.offset

    @property
    def num_views(self) -> int:
        """Of each picture."""
        return len(self.loader.options.specs)

    def marks(self, batch: Batch) -> torch.Tensor:
        """(B,) int64: what the method is told of each picture beside its views."""
        return batch.index if self.model.marks == "index" else batch.label

    @property
    def resume_command(self) -> str:
        """What continues it, in as many processes."""
        command = self.task.command(self.config)
        if self.world.is_alone:
            return f"swiftsiam {command}"
        here, size = self.world.local_size, self.world.size
        nodes = f"--nnodes={size // here} … " if size > here else ""
        return f"torchrun {nodes}--nproc-per-node={here} -m swiftsiam {command}"

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors and plain types. All ranks call it."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "train_step": self.train_step.state(),
            "loader": self.place,
            "offset": self.offset,
            "steps_per_epoch": self.rate.steps_per_epoch,
            "listing": self.listing,
            "backbone": self.config.model.backbone,
            "world_size": self.world.size,
        }

    def load(self, state: dict[str, Any], *, pictures_changed: bool) -> None:
        """Continue behind `state`; over other pictures, at the same share of its epoch."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.train_step.load(state["train_step"])
        self.offset = state.get("offset", 0)
        self.place = state["loader"]
        if pictures_changed:
            epoch, done = divmod(self.scheduled_step, state["steps_per_epoch"])
            done = done * self.rate.steps_per_epoch // state["steps_per_epoch"]
            self.place = {"epoch": epoch, "position": done * self.config.train.batch_size}
            self.offset = epoch * self.rate.steps_per_epoch + done - self.step
            self.model.move_to(self.scheduled_step)
        self.loader.load(self.place)


def build_job(
    config: Config,
    world: World | None = None,
    *,
    task: Task | None = None,
    stages: Stages | None = None,
) -> Job:
    """Model, optimiser and loader of a resolved configuration; the same seed gives the same job.

    Args:
        config: of `resolve`, the same on all ranks.
        world: the processes that share the job, all of which call this.
        task: what it is for; None: pre-training.
        stages: where the loader's workers count their time.
    """
    world, task = world or World(), task or Task()
    train = config.train
    lanes = world.everyone(lambda: choose_lanes(train, world_size=world.size))
    world.settle(device=train.device, timeout_s=train.timeout_s)
    assert train.num_threads is not None
    torch.set_num_threads(train.num_threads)
    if not config.data.path:
        raise world.alike(UserError("data.path: not set; give data.path=FOLDER with your pictures"))
    path = config.data.path
    source = world.everyone(lambda: open_source(path))
    _check_same(source, world, path)
    config = world.everyone(lambda: task.settle(config, source))
    train = config.train
    config, views = world.once(lambda: place_views(config, source))
    loader = world.everyone(lambda: open_data(config, source, world, task=task, stages=stages))
    task.check(config, source, world)
    steps = train.epochs * loader.batches_per_epoch
    torch.manual_seed(train.seed)
    model = task.build(config, source)
    world.everyone(lambda: begin_method(model, config, source, loader, world))
    model.to(train.device)
    config, compiled = world.once(lambda: settle_compile(config, steps=steps))
    lanes = dataclasses.replace(lanes, compile=compiled.name == "on")
    rate = build_learning_rate(
        config.optim,
        batch_size=train.batch_size,
        epochs=train.epochs,
        steps_per_epoch=loader.batches_per_epoch,
    )
    train_step = build_step(
        model, config.optim, lanes, lr=rate.peak, sharing=_sharing(train, world)
    )
    return Job(
        config=config,
        source=source,
        loader=loader,
        model=model,
        optimizer=train_step.optimizer,
        train_step=train_step,
        rate=rate,
        listing={"digest": source.digest, "count": len(loader.indices)},
        place=loader.state(),
        decided={"compile": compiled, "views": views},
        world=world,
        task=task,
    )


def _sharing(train: TrainConfig, world: World) -> Sharing:
    return Sharing(
        world=world,
        sync_batch_norm=train.sync_batch_norm,
        compress_gradients=train.compress_gradients,
    )


def _check_same(source: Source, world: World, path: str) -> None:
    """On each machine lies the same data, or samples would be another machine's pictures."""
    for rank, (count, digest) in enumerate(world.gather((len(source), source.digest))):
        if digest != source.digest:
            raise world.alike(
                UserError(
                    f"data.path={path}: rank 0 finds {len(source):,} pictures there and rank "
                    f"{rank} {count:,}, or others; give each machine the same data"
                )
            )


def open_data(
    config: Config,
    source: Source,
    world: World,
    *,
    task: Task | None = None,
    indices: np.ndarray | None = None,
    stages: Stages | None = None,
) -> Loader:
    """What this rank trains on.

    Args:
        config: of `build_job`, with the views placed.
        source: of its pictures.
        world: the processes that share it.
        task: what they are for; None: pre-training.
        indices: (N,) of the pictures to take; None: those of the task.
        stages: where the workers count their time.
    """
    train = config.train
    task = task or Task()
    if indices is None:
        indices = task.choose(config, source)
    return build_loader(
        source=source,
        specs=task.specs(config),
        global_batch_size=train.batch_size,
        train=True,
        seed=train.seed,
        engine=RESIDENT if config.loader.resident == "on" else config.loader.engine,
        dtype=view_dtype(train.precision, loader_device=config.loader.device),
        device=train.device,
        num_workers=config.data.num_workers or 0,
        max_bad_samples=config.data.max_bad_samples,
        indices=indices,
        num_epochs=train.epochs,
        rank=world.rank,
        world_size=world.size,
        ops=config.augment.ops,
        delivers="crops" if config.loader.device == "gpu" else "views",
        decoder=config.loader.decoder_options(),
        stall_s=config.data.stall_s,
        stages=stages,
    )
