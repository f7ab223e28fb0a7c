"""The run folder: config.yaml, metrics.jsonl, checkpoints/, summary.json, curves.png."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

from ..pipeline.errors import UserError
from .checkpoint import remove_leftovers, sync_folder, write_atomically
from .config import Config, read_config, replace, split_override, to_yaml

# What may change on resume without changing what is learnt.
_FREE_SECTIONS = ("data", "loader", "eval", "run")


class RunFolder:
    """One run's files; held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics_path = path / "metrics.jsonl"
        self.curves_path = path / "curves.png"
        self._lock = self._take_lock()
        self.checkpoints.mkdir(exist_ok=True)
        remove_leftovers(self.checkpoints)
        remove_leftovers(path)

    def _take_lock(self) -> IO[str]:
        lock = open(self.path / ".lock", "w")  # noqa: SIM115 - held for the object's life
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise UserError(
                f"{self.path}: another process is training in this run folder; wait for it, or "
                "choose another run.dir"
            ) from None
        return lock

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.metrics_path, "a") as file:
            file.write(json.dumps(record) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All records; a last line that a kill cut short is left out."""
        if not self.metrics_path.exists():
            return []
        lines = self.metrics_path.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def forget_metrics_after(self, step: int) -> None:
        """Drop the records of steps that a resumed run takes again."""
        kept = [r for r in self.read_metrics() if r["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_atomically(self.metrics_path, text.encode())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=2).encode() + b"\n")

    def close(self) -> None:
        """Let another process have the folder."""
        self._lock.close()


def create_run(config: Config, *, name: str) -> tuple[RunFolder, Config]:
    """A new folder that appears under its name only with config.yaml in it.

    Args:
        config: resolved.
        name: of the configuration; names the folder where run.dir is null.

    Raises:
        UserError: run.dir exists.
    """
    path = Path(config.run.dir).expanduser() if config.run.dir else _free_path(name)
    config = replace(config, run={"dir": str(path)})
    if os.path.lexists(path):
        raise UserError(
            f"run.dir={path}: exists already; continue it with --resume {path}, or choose another"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        staging.mkdir()
        write_atomically(staging / "config.yaml", to_yaml(config).encode())
        staging.rename(path)
    except OSError as error:
        raise UserError(f"run.dir={path}: cannot be made ({error.strerror})") from error
    sync_folder(path.parent)
    return RunFolder(path), config


def _free_path(name: str) -> Path:
    for number in range(1, 10_000):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        if not path.exists():
            return path
    raise UserError("run.dir: runs/ holds 9,999 runs of this name; choose a run.dir")


def read_run_config(path: Path, overrides: list[str]) -> Config:
    """The configuration of a run that exists, with what may change on resume laid over it.

    Raises:
        UserError: no run, or an override that would change what is learnt.
    """
    if not (path / "config.yaml").is_file():
        raise UserError(f"--resume {path}: not a run folder (no config.yaml in it); check the path")
    stored = read_config(str(path / "config.yaml"))
    config = replace(read_config(str(path / "config.yaml"), overrides), run={"dir": str(path)})
    for override in overrides:
        section, key, _ = split_override(override)
        old, new = getattr(getattr(stored, section), key), getattr(getattr(config, section), key)
        if section not in _FREE_SECTIONS and old != new:
            raise UserError(
                f"{section}.{key}={new}: the run was begun with {old}, and another value would "
                f"change its result; only {', '.join(_FREE_SECTIONS)} may change on --resume"
            )
    return config


def check_free_space(path: Path, *, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        path: any folder below the run's place; its nearest existing parent is asked.
        needed: bytes.
    """
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"run.dir={path}: needs {needed / 1e6:.0f} MB for checkpoints, {free / 1e6:.0f} MB are "
            "free; make room or choose another run.dir"
        )
