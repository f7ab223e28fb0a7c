"""A training job: everything that a run trains with, made from its configuration."""

from dataclasses import dataclass
from typing import Any

import torch

from ..model.simsiam import SimSiam
from ..pipeline.augment.spec import build_train_specs
from ..pipeline.errors import UserError
from ..pipeline.loader import Loader, build_loader
from ..pipeline.sources import Source, open_source
from .config import Config
from .device import build_autocast, view_dtype
from .evaluate import KnnData, choose_indices, open_knn_data
from .optim import build_learning_rate, build_optimizer
from .schedule import LearningRate
from .step import TrainStep


@dataclass(kw_only=True)
class Job:
    """Everything that a run trains with, and the number of steps it has done."""

    config: Config
    source: Source
    loader: Loader
    model: SimSiam
    optimizer: torch.optim.Optimizer
    train_step: TrainStep
    rate: LearningRate
    step: int = 0

    @property
    def total_steps(self) -> int:
        """Of the whole run."""
        return self.rate.epochs * self.rate.steps_per_epoch

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors and plain types."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "train_step": self.train_step.state(),
            "loader": self.loader.state(),
            "backbone": self.config.model.backbone,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue behind `state`."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.train_step.load(state["train_step"])
        self.loader.load(state["loader"])


def build_job(config: Config) -> Job:
    """Model, optimiser and loader of a resolved configuration; the same seed gives the same job."""
    train = config.train
    assert train.num_threads is not None
    torch.set_num_threads(train.num_threads)
    if not config.data.path:
        raise UserError("data.path: not set; give data.path=FOLDER with your pictures")
    source = open_source(config.data.path)
    loader = build_loader(
        source=source,
        specs=build_train_specs(config.augment),
        global_batch_size=train.batch_size,
        train=True,
        seed=train.seed,
        engine=config.loader.engine,
        dtype=view_dtype(train.precision),
        device=train.device,
        num_workers=config.data.num_workers or 0,
        max_bad_samples=config.data.max_bad_samples,
        indices=choose_indices(source, limit=config.data.limit, seed=train.seed),
        num_epochs=train.epochs,
        ops=config.augment.ops,
    )
    if config.data.val_path is not None:  # a mistake in it must not wait for the first evaluation
        open_val_data(config, source, max_queries=None)
    torch.manual_seed(train.seed)
    model = SimSiam(config.model).to(train.device)
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
    )


def open_val_data(config: Config, source: Source, *, max_queries: int | None) -> KnnData:
    """The run's own validation data; all of it where `max_queries` is None."""
    assert config.data.val_path is not None
    return open_knn_data(
        config,
        source,
        queries_path=config.data.val_path,
        field="data.val_path",
        max_queries=max_queries,
    )
