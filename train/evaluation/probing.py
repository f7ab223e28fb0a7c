"""A question to trained weights, the way to its answer, and the folder where that is kept."""

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...pipeline.world import World
from ..config import Config
from ..device import resolve
from ..opening import OpenedRun, begin_run, continue_run
from ..pretrain import finish_run
from ..report import Report
from ..run import CONFIG
from ..weights.trained import Trained
from .asked import Asked, check_identity, configure, write_identity
from .fast import Fast
from .linear import Linear


class Probing:
    """One question to the weights, and the folder of its answer."""

    def __init__(
        self,
        args: argparse.Namespace,
        trained: Trained,
        asked: Asked,
        report: Report,
        world: World,
    ) -> None:
        self._args, self._trained, self._asked = args, trained, asked
        self._report, self._world = report, world
        self.resume_command = ""
        """What continues a training that was stopped."""
        self._out: Path = args.out or choose_folder(trained, asked.name)
        self._identity = asdict(asked) | {"weights": digest(trained)}

    def train(self, argv: list[str]) -> dict[str, Any] | None:
        """Train the classifier by the trainer; None: a signal stopped it."""
        task = Linear(self._trained, self._asked, given=self._args.overrides, argv=argv)
        opened = self._open(task)
        summary = finish_run(opened, self._report)
        self.resume_command = opened.job.resume_command
        return summary

    def _open(self, task: Linear) -> OpenedRun:
        """The folder, new or continued."""
        world = self._world
        if world.once((self._out / CONFIG).exists):
            world.first(lambda: check_identity(self._out, self._identity))
            return continue_run(self._args, self._out, self._report, world, task=task)
        config = world.once(self._configure)
        opened = begin_run(config, self._report, name=self._asked.name, world=world, task=task)
        if opened.run is not None:
            write_identity(self._out, self._identity)
        return opened

    def sweep(self) -> dict[str, Any] | None:
        """Sweep over cached features; None: on the ranks that tell nothing."""
        world = self._world
        world.first(lambda: check_identity(self._out, self._identity))
        config = world.once(lambda: resolve(self._configure(), sharing=world.local_size).config)
        fast = Fast(
            trained=self._trained,
            asked=self._asked,
            config=config,
            identity=self._identity,
            report=self._report,
            world=world,
        )
        return fast.measure()

    def _configure(self) -> Config:
        return configure(self._trained, self._asked, self._args.overrides, out=str(self._out))


def choose_folder(trained: Trained, name: str) -> Path:
    """Where results are kept if nothing is said: in the run folder, else in the working folder."""
    if trained.run is None:
        return Path.cwd() / f"linear-{trained.path.stem}" / name
    step = "imported" if trained.step is None else f"step{trained.step}"
    folder = trained.run / "linear"
    return folder / f"{step}-{name}"


def digest(trained: Trained) -> str:
    """Of the backbone's weights."""
    state = hashlib.sha256()
    for name, tensor in sorted(trained.backbone.items()):
        state.update(name.encode())
        state.update(tensor.contiguous().numpy().tobytes())
    return state.hexdigest()
