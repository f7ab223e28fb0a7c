"""Runs as they lie on the disk: finished, going on, or killed in the middle of a line."""

import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ...pipeline.errors import UserError
from ..config import Config
from ..metrics import figure_names
from ..resume import read_run_config
from ..run import EXIT_CODE, IMPORTED, read_metrics

Over = Literal["epoch", "step"]
"""What a curve goes along."""

_PROGRESS = {"epoch": "epoch_progress", "step": "step"}
_STOPPED = 75


class Series(NamedTuple):
    """One figure over the course of a run."""

    places: list[float]
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run folder tells. Figures come from metrics.jsonl, which is there at any moment."""

    name: str
    """Short, and no other run's in the same report."""
    path: Path
    config: Config
    metrics: list[dict[str, Any]]
    """Records that are whole; see `read_metrics`."""

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """Records of training."""
        return [r for r in self._of("train") if _is_number(r.get("epoch_progress"))]

    @property
    def figures(self) -> list[str]:
        """Names of the method's figures, the loss first."""
        names = figure_names(self.steps)
        return [n for n in names if any(_is_number(r.get(n)) for r in self.steps)]

    def series(self, name: str, *, over: Over = "epoch", kind: str = "train") -> Series:
        """A figure of the records of one kind; those that lack it are left out."""
        place = _PROGRESS[over]
        found = [
            (r[place], r[name])
            for r in self._of(kind)
            if _is_number(r.get(place)) and _is_number(r.get(name))
        ]
        return Series([x for x, _ in found], [y for _, y in found])

    def last(self, name: str, *, kind: str = "train") -> float | None:
        """The last value of a figure; some come at the end of an epoch alone."""
        values = self.series(name, kind=kind).values
        return values[-1] if values else None

    def median(self, name: str) -> float | None:
        """Over the log points; the first one, with the start-up in it, is left out."""
        values = self.series(name).values
        return statistics.median(values[1:] or values) if values else None

    @property
    def epochs_done(self) -> float:
        """Passes over the data, with the part of the last one."""
        return self.steps[-1]["epoch_progress"] if self.steps else 0.0

    @property
    def floors(self) -> dict[str, float]:
        """kNN before training, by what it is of, percent."""
        floors = {
            str(r.get("network")): r["knn"] for r in self._of("floor") if _is_number(r.get("knn"))
        }
        places, values = self.series("knn", kind="knn")
        return floors | ({"random initialisation": values[0]} if places[:1] == [0] else {})

    @property
    def knn(self) -> tuple[float, float] | None:
        """The last one since training began, percent, and after how many epochs it was."""
        places, values = self.series("knn", kind="knn")
        return (values[-1], places[-1]) if values and places[-1] > 0 else None

    @property
    def training_s(self) -> float | None:
        """Time in training so far, s, by the pace at each log point: without evaluations, saving,
        and what lay between a stop and a resume. None: not known.
        """
        total, before = 0.0, 0
        for record in self.steps:
            pace: Any = record.get("images_per_s")
            if not _is_number(pace) or pace <= 0:
                return None
            total += (record["step"] - before) * self.config.train.batch_size / pace
            before = record["step"]
        return total if self.steps else None

    @property
    def is_imported(self) -> bool:
        """Whether its configuration is but a guess from the weights."""
        return (self.path / IMPORTED).exists()

    @property
    def is_pretraining(self) -> bool:
        """Whether its configuration is of pre-training; what `swiftsiam linear` leaves is not."""
        return not self.is_imported and not self._of("accuracy")

    @property
    def state(self) -> str:
        """How it stands, in words."""
        if self.is_imported:
            return "imported weights"
        code = _read_exit_code(self.path)
        if code is None:
            return "going on, or killed"
        if code == _STOPPED:
            return "stopped, can be resumed"
        return "finished" if code == 0 else f"failed (exit code {code})"

    @cached_property
    def linear(self) -> dict[str, tuple[float, int | None]]:
        """What `swiftsiam linear` has found, by its protocol: percent, and of which step, the last
        where there are several.
        """
        found: dict[str, tuple[float, int | None]] = {}
        for file in self.path.glob("linear*/**/summary.json"):
            accuracy = _read_json(file).get("accuracy")
            if accuracy is None or not _is_number(accuracy):
                continue
            match = re.fullmatch(r"step(\d+)-(.+)", file.parent.name)
            name, step = (match[2], int(match[1])) if match else (file.parent.name, None)
            if name not in found or (found[name][1] or 0) < (step or 0):
                found[name] = accuracy, step
        return dict(sorted(found.items()))

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.metrics if r["type"] == kind]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs of a report, in the order in which they were asked for.

    Raises:
        UserError: one is no run folder, has a damaged configuration, or was given twice.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UserError(f"RUN={path}: is given twice; give each run once")
        seen.add(path.resolve())
    return [
        Run(
            name=name,
            path=path,
            config=read_run_config(path, [], field="RUN").config,
            metrics=_read_metrics(path),
        )
        for name, path in zip(_shorten(paths), paths, strict=True)
    ]


def _shorten(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, with as many of those above as tell them apart."""
    for count in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    try:
        return read_metrics(path)
    except OSError as error:
        raise UserError(
            f"RUN={path}: its metrics cannot be read ({error.strerror}); mend it, or leave it out"
        ) from error


def _read_exit_code(path: Path) -> int | None:
    try:
        return int((path / EXIT_CODE).read_text())
    except (OSError, ValueError):
        return None


def _read_json(file: Path) -> dict[str, Any]:
    """Of a summary; empty where it is damaged."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_number(value: Any) -> bool:
    """Not a name, a flag or a hole; what is not finite cannot be drawn."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)
