"""Checkpoints while training goes on: from a copy, by a thread, one at a time."""

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..pipeline.files import sync_folder
from .checkpoint import save_checkpoint

if TYPE_CHECKING:
    from .config import RunConfig
    from .run import RunFolder

BEST = "best.pt"


class Keeper:
    """Keeps the newest checkpoints of a run, and the one with the best kNN."""

    def __init__(self, run: "RunFolder | None", config: "RunConfig") -> None:
        """
        Args:
            run: its folder; None: on the ranks that write nothing.
            config: of the run.
        """
        self._run = run
        self._config = config
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        knn = [] if run is None else [r["knn"] for r in run.read_metrics() if r["type"] == "knn"]
        self._best = max(knn, default=float("-inf"))

    def save(self, state: dict[str, Any], *, step: int, worth: float | None = None) -> None:
        """Copy the state and write it in the background, behind the one before.

        Args:
            state: of `Job.state`.
            step: its number.
            worth: of these weights, as `Task.evaluate` has it, where that is known.

        Raises:
            MachineError: the one before could not be written.
        """
        if self._run is None:
            return
        self.wait()
        is_best = worth is not None and worth >= self._best
        if worth is not None and is_best:
            self._best = worth
        arguments = (_copy(state), step, is_best and self._config.keep_best)
        # Not a daemon: an interpreter that ends waits for the last one.
        self._thread = threading.Thread(target=self._write, args=arguments, name="checkpoint")
        self._thread.start()

    def _write(self, state: dict[str, Any], step: int, is_best: bool) -> None:
        run = self._run
        assert run is not None
        try:
            with run.writing(f"the checkpoint of step {step}"):
                path = save_checkpoint(
                    run.checkpoints, state, step=step, keep=self._config.keep_checkpoints
                )
                if is_best:
                    _give_name(path, run.checkpoints / BEST)
        except Exception as error:
            self._failure = error

    def check(self) -> None:
        """Raise what a finished writer has met: MachineError. Never waits."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def wait(self) -> None:
        """Until all is written, or raise MachineError."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def close(self) -> None:
        """Until all is written; what has failed by now is told by what ends the run."""
        if self._thread is not None:
            self._thread.join()


def _copy(thing: Any) -> Any:
    """The same on the CPU, of which training changes nothing."""
    if isinstance(thing, torch.Tensor):
        return thing.detach().to("cpu", copy=True)
    if isinstance(thing, dict):
        return {key: _copy(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return type(thing)(map(_copy, thing))
    return thing


def _give_name(path: Path, name: Path) -> None:
    """Another name for a file, at one stroke; a copy where the file system has no links."""
    temporary = name.with_name(f".{name.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, temporary)
    temporary.replace(name)
    sync_folder(name.parent)
