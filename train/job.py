"""A training job: everything that a run trains with, made from its configuration."""

from dataclasses import dataclass
from typing import Any

import torch

from ..model.method import Method, build_method
from ..pipeline.augment.spec import build_train_specs
from ..pipeline.building import build_loader
from ..pipeline.engines import RESIDENT
from ..pipeline.errors import UserError
from ..pipeline.loader import Loader
from ..pipeline.order import choose_indices
from ..pipeline.sources import Source, open_source
from ..pipeline.sources.torchvision_spec import are_same
from .config import Config
from .device import Choice, build_autocast, place_views, view_dtype
from .evaluation.labelled import LabelledData, open_labelled
from .optim import build_learning_rate, build_optimizer, load_optimizer
from .schedule import LearningRate
from .step import TrainStep


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
    views: Choice
    """Where they are made, and why."""

    @property
    def scheduled_step(self) -> int:
        """`step` as the schedule counts it: over epochs of the pictures as they are now."""
        return self.step + self.offset

    @property
    def total_steps(self) -> int:
        """Of the whole run."""
        return self.rate.epochs * self.rate.steps_per_epoch - self.offset

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors and plain types."""
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
        self.loader.load(self.place)


def build_job(config: Config) -> Job:
    """Model, optimiser and loader of a resolved configuration; the same seed gives the same job."""
    train = config.train
    assert train.num_threads is not None
    torch.set_num_threads(train.num_threads)
    if not config.data.path:
        raise UserError("data.path: not set; give data.path=FOLDER with your pictures")
    source = open_source(config.data.path)
    config, views = place_views(config, source)
    chosen = choose_indices(len(source), limit=config.data.limit, seed=train.seed)
    loader = build_loader(
        source=source,
        specs=build_train_specs(config.augment),
        global_batch_size=train.batch_size,
        train=True,
        seed=train.seed,
        engine=RESIDENT if config.loader.resident == "on" else config.loader.engine,
        dtype=view_dtype(train.precision, loader_device=config.loader.device),
        device=train.device,
        num_workers=config.data.num_workers or 0,
        max_bad_samples=config.data.max_bad_samples,
        indices=chosen,
        num_epochs=train.epochs,
        ops=config.augment.ops,
        delivers="crops" if config.loader.device == "gpu" else "views",
        decoder=config.loader.decoder_options(),
    )
    if config.data.val_path is not None:  # a mistake in it must not wait for the first evaluation
        open_val_data(config, source, max_queries=None).check()
    torch.manual_seed(train.seed)
    model = build_method(config.model).to(train.device)
    if train.channels_last:
        model = model.to(memory_format=torch.channels_last)
    rate = build_learning_rate(
        config.optim,
        batch_size=train.batch_size,
        epochs=train.epochs,
        steps_per_epoch=loader.batches_per_epoch,
    )
    optimizer = build_optimizer(model, config.optim, lr=rate.peak)
    train_step = TrainStep(
        model,
        optimizer,
        autocast=build_autocast(train.precision, train.device),
        scaler=torch.amp.GradScaler(train.device, enabled=train.precision == "fp16"),
        compiled=train.compile == "on",
    )
    return Job(
        config=config,
        source=source,
        loader=loader,
        model=model,
        optimizer=optimizer,
        train_step=train_step,
        rate=rate,
        listing={"digest": source.digest, "count": len(chosen)},
        place=loader.state(),
        views=views,
    )


def open_val_data(config: Config, source: Source, *, max_queries: int | None) -> LabelledData:
    """The run's own validation data; all of it where `max_queries` is None."""
    path, val_path = config.data.path, config.data.val_path
    assert path is not None
    assert val_path is not None
    return open_labelled(
        config,
        source,
        open_source(val_path, field="data.val_path"),
        fields=(f"data.path={path}", f"data.val_path={val_path}"),
        max_queries=max_queries,
        splits=are_same(path, val_path),
    )
