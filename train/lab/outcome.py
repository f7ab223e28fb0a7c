"""What the runs of a table have reached."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from ...model.method import build_method
from ..reporting.series import Run, read_runs
from ..run import CONFIG
from .plan import Plan
from .runs import Wanted, list_wanted
from .table import Row

State = Literal["not run yet", "going on", "diverged", "collapsed", "trained"]


class Spread(NamedTuple):
    """Of some seeds."""

    mean: float
    deviation: float | None
    """Of the sample; None: of one seed there is none."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value or more."""
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row with all its seeds."""

    row: Row
    runs: tuple[Run, ...]
    """That have figures."""
    states: tuple[State, ...]
    """Of each seed; those of the runs come first."""
    versions: tuple[str, ...] = ()
    """Of the project, by which runs were ended."""

    def values(self, name: str) -> list[float]:
        """The last value of a figure, or of kNN, of each run that came to its end."""
        return [
            value
            for run, state in zip(self.runs, self.states, strict=False)
            if state in ("collapsed", "trained") and (value := last_of(run, name)) is not None
        ]

    def spread(self, name: str) -> Spread | None:
        """Of these."""
        values = self.values(name)
        return Spread.of(values) if values else None

    def tell_states(self) -> str:
        """In words, such as "collapsed" or "1 of 3 diverged"."""
        told = []
        for state in dict.fromkeys(self.states):
            count = self.states.count(state)
            if count == len(self.states):
                return state
            told.append(f"{count} of {len(self.states)} {state}")
        return ", ".join(told)


def last_of(run: Run, name: str) -> float | None:
    """The last value of a figure of a run."""
    if name == "knn":
        return run.knn[0] if run.knn else None
    return run.last(name)


def read_outcomes(plan: Plan, folder: Path) -> list[Outcome]:
    """Of all rows, as far as they are."""
    of_rows: dict[str, list[tuple[Wanted, Run | None]]] = {}
    for each in list_wanted(plan, folder):
        run = read_runs([each.path])[0] if (each.path / CONFIG).exists() else None
        of_rows.setdefault(each.planned.row.name, []).append((each, run))
    outcomes = []
    for found in of_rows.values():
        runs = [(each, run) for each, run in found if run is not None]
        states: list[State] = [_judge(each, run) for each, run in runs]
        missing: list[State] = ["not run yet"] * (len(found) - len(runs))
        outcomes.append(
            Outcome(
                row=found[0][0].planned.row,
                runs=tuple(run for _, run in runs),
                states=tuple(states + missing),
                versions=tuple(each.version for each, _ in runs if each.version),
            )
        )
    return outcomes


def _judge(each: Wanted, run: Run) -> State:
    if each.has_diverged:
        return "diverged"
    if not each.is_done:
        return "going on"
    figures = {name: value for name in ("loss", "z_std") if (value := run.last(name)) is not None}
    with torch.device("meta"):  # no weights are made
        method = build_method(run.config.model)
    return "collapsed" if "loss" in figures and method.diagnose(figures) else "trained"


def lone_picture_std(batch_size: int) -> float:
    """z_std·√d of a batch in which one picture has one direction and all others the opposite one.

    BatchNorm at the projector's output makes the projections of a batch sum up to zero: so that all
    others can be alike, one must make up for them. It is where a method with that BatchNorm
    collapses to.
    """
    share = 1 / batch_size
    return 2 * math.sqrt(share * (1 - share))


def to_records(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One for each run, as JSON has values."""
    return [
        {
            "row": outcome.row.name,
            "seed": run.config.train.seed,
            "state": state,
            "knn": last_of(run, "knn"),
            **{name: run.last(name) for name in run.figures},
            "images_per_s": run.median("images_per_s"),
            "steps": run.steps[-1]["step"] if run.steps else 0,
            "training_s": run.training_s,
            "published": outcome.row.published,
        }
        for outcome in outcomes
        for run, state in zip(outcome.runs, outcome.states, strict=False)
    ]
