"""The run folder: config.yaml, metrics.jsonl, checkpoints/, summary.json, curves.png, exit_code."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..pipeline.errors import MachineError, UserError
from ..pipeline.files import (
    HeldElsewhereError,
    Lock,
    absolute,
    remove_leftovers,
    sync_folder,
    write_atomically,
)
from .config import Config, replace, to_yaml
from .versions import describe_version

CONFIG = "config.yaml"
EXIT_CODE = "exit_code"
IMPORTED = "imported.json"
"""What tells a folder of imported weights from a run."""
_LOCK = ".lock"
_CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"


class RunFolder:
    """One run's files; held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: a folder that exists.

        Raises:
            UserError: another process holds it, or it cannot be written to.
        """
        self.path = path
        self.again = f"swiftsiam pretrain --resume {path}"
        """What goes on with it, for messages."""
        self.checkpoints = path / _CHECKPOINTS
        self.metrics_path = path / METRICS
        self.curves_path = path / "curves.png"
        try:
            self._lock = Lock(path / _LOCK)
            self.checkpoints.mkdir(exist_ok=True)
        except HeldElsewhereError:
            raise UserError(
                f"run.dir={path}: another process is training in this run folder, or just "
                "beginning to; wait for it, or choose another run.dir"
            ) from None
        except OSError as error:
            raise UserError(
                f"run.dir={path}: cannot be written to ({error.strerror}); choose another run.dir"
            ) from error
        remove_leftovers(self.checkpoints)
        remove_leftovers(path)

    @property
    def has_begun(self) -> bool:
        """Whether a configuration is there."""
        return (self.path / CONFIG).exists()

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Tell in one line what could not be written, such as to a disk that is full."""
        try:
            yield
        except OSError as error:
            raise MachineError(
                f"run.dir={self.path}: {what} could not be written ({error.strerror or error}); "
                f"what was saved before is kept: make room, then {self.again}"
            ) from error

    def write_config(self, config: Config) -> None:
        """Write config.yaml, and by which version."""
        text = f"# {describe_version()}\n{to_yaml(config)}"
        with self.writing(CONFIG):
            write_atomically(self.path / CONFIG, text.encode())

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with self.writing("metrics.jsonl"), open(self.metrics_path, "a") as file:
            file.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """See `read_metrics`."""
        return read_metrics(self.path)

    def forget_metrics_after(self, step: int) -> None:
        """Drop the records of steps that a resumed run takes again."""
        kept = [r for r in self.read_metrics() if r["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        with self.writing("metrics.jsonl"):
            write_atomically(self.metrics_path, text.encode())

    def start_over(self) -> None:
        """Keep what the run has under other names, and have nothing."""
        number = 1
        while any(self.path.glob(f"*.before-{number}*")):
            number += 1
        self.checkpoints.rename(self.path / f"{_CHECKPOINTS}.before-{number}")
        self.checkpoints.mkdir()
        if self.metrics_path.exists():
            self.metrics_path.rename(self.path / f"metrics.before-{number}.jsonl")

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        with self.writing(SUMMARY):
            text = json.dumps(summary, indent=2) + "\n"
            write_atomically(self.path / SUMMARY, text.encode())

    def write_exit_code(self, code: int | None) -> None:
        """Write exit_code, which a job script reads where torchrun says 1 of everything; None:
        take it away.
        """
        path = self.path / EXIT_CODE
        if code is None:
            path.unlink(missing_ok=True)
            return
        with contextlib.suppress(OSError):  # what ends the run has been told
            write_atomically(path, f"{code}\n".encode())

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.release()

    def remove(self) -> None:
        """Undo the beginning of a run that failed before its first step."""
        for name in (CONFIG, self.metrics_path.name, "views.png", EXIT_CODE, _LOCK):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of somebody else's lies in it
            self.checkpoints.rmdir()
            self.path.rmdir()
        self.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All records of a run folder. Lines that a kill or a disk has damaged are left out."""
    try:
        lines = (path / METRICS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = [_parse_record(line) for line in lines]
    return [record for record in records if record is not None]


def _parse_record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_record = isinstance(record, dict) and isinstance(record.get("step"), int)
    return record if is_record and isinstance(record.get("type"), str) else None


def create_run(config: Config, *, name: str) -> tuple[RunFolder, Config]:
    """A new run folder with config.yaml in it.

    Args:
        config: resolved.
        name: of the configuration; names the folder where run.dir is null.

    Raises:
        UserError: run.dir exists, or cannot be made.
    """
    if config.run.dir:
        return _begin(Path(config.run.dir), config)
    for number in range(1, 10_000):
        path = absolute("runs") / (name if number == 1 else f"{name}-{number}")
        if path.exists():
            continue
        with contextlib.suppress(TakenError):  # by a process that started when we did
            return _begin(path, config)
    raise UserError("run.dir: runs/ holds 9,999 runs of this name; choose a run.dir")


class TakenError(UserError):
    """A run was begun in this folder, or is being begun by another process."""


def _begin(path: Path, config: Config) -> tuple[RunFolder, Config]:
    taken = f"run.dir={path}: exists already; continue it with --resume {path}, or choose another"
    if path.exists() and not is_unbegun(path):
        raise TakenError(taken)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run.dir={path}: cannot be made ({error.strerror})") from error
    try:
        run = RunFolder(path)
    except UserError as error:
        raise TakenError(str(error)) from error
    if run.has_begun:  # since we looked
        run.close()
        raise TakenError(taken)
    config = replace(config, run={"dir": str(path)})
    try:
        run.write_config(config)
        sync_folder(path.parent)
    except BaseException:
        run.remove()
        raise
    return run, config


def is_unbegun(path: Path) -> bool:
    """Whether a folder holds nothing but what a start leaves that was killed before config.yaml."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    names = {n for n in names if not (n.startswith(".") and n.endswith(".tmp"))}
    return names <= {_LOCK, _CHECKPOINTS} and not any((path / _CHECKPOINTS).glob("*"))
