"""Sinks of other people's tools, for runs that ask for them (`run.tensorboard`, `run.wandb`)."""

import dataclasses
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..pipeline.errors import UserError
from ..pipeline.files import write_atomically
from .config import Config, RunConfig
from .report import Figures, Report, Sink
from .run import RunFolder


def check_trackers(config: RunConfig) -> None:
    """Find out, before anything is begun, whether what is asked for is installed.

    Raises:
        UserError: it is not.
    """
    for key, package in (("tensorboard", "tensorboard"), ("wandb", "wandb")):
        if getattr(config, key) and find_spec(package) is None:
            raise UserError(
                f"run.{key}={getattr(config, key)}: {package} is not installed; pip install "
                f"{package}, or leave run.{key} out"
            )


def add_trackers(report: Report, config: Config, run: RunFolder, *, step: int) -> None:
    """Add those that the run asks for.

    Args:
        report: to add to.
        config: of the run.
        run: its folder.
        step: the run goes on behind it: what was told of later steps is taken back.
    """
    if config.run.tensorboard:
        report.add(TensorBoard(run, step=step))
    if config.run.wandb:
        report.add(Wandb(config.run.wandb, config, run))


class TensorBoard(Sink):
    """Event files in the run folder: tensorboard --logdir RUN."""

    def __init__(self, run: RunFolder, *, step: int) -> None:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(run.path / "tensorboard", purge_step=step + 1 if step else None)

    def log(self, kind: str, step: int, figures: Figures) -> None:
        for name, value in _numbers(kind, figures).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb(Sink):
    """One run of Weights & Biases for each run folder, which a resumed run goes on with."""

    def __init__(self, project: str, config: Config, run: RunFolder) -> None:
        self._run = import_module("wandb").init(
            project=project,
            name=run.path.name,
            id=_identity(run.path / "wandb.id"),
            resume="allow",
            dir=run.path,
            config=dataclasses.asdict(config),
        )

    def log(self, kind: str, step: int, figures: Figures) -> None:
        self._run.log(_numbers(kind, figures), step=step)

    def close(self) -> None:
        self._run.finish()


def _identity(path: Path) -> str:
    """The same for each start of a run, and for no other run of its name."""
    if not path.exists():
        write_atomically(path, uuid4().hex.encode())
    return path.read_text()


def _numbers(kind: str, figures: Figures) -> dict[str, Any]:
    return {
        f"{kind}/{name}": value
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
