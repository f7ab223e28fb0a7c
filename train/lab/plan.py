"""What a table is run with: the same pictures, epochs and seeds for all of its rows, chosen so that
they fit a budget; kept beside the runs, so that they are continued with it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.augment.spec import build_train_specs
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ...pipeline.sources import Source
from ..config import Config, parse_config, to_plain
from ..task import Task
from .table import Row, Table

PLAN = "lab.json"
_MIN_EPOCHS = 8
"""Fewer pictures rather than fewer epochs: a rule that goes over pictures again needs some."""
_MARGIN = 0.9  # of the budget; the pace was measured for moments only
_START_S = 12.0  # of a process, until its first step
_EVALUATION = 1 / 6  # forward of one view, over forward and backward of two
_NUM_EVALUATIONS = 4
_MIN_STEPS = 5  # of an epoch


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A row in numbers."""

    row: Row
    overrides: tuple[str, ...]
    """Over the recipe, in numbers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that is needed to run a table again."""

    name: str
    """Of the table."""
    table: Table
    rows: tuple[Planned, ...]
    left_out: tuple[str, ...]
    """Rows that cannot be run so, and why."""
    seeds: int
    epochs: int
    limit: int | None
    """Pictures to train on; None: all."""
    config: Config
    """The recipe that each row is laid over, epochs and pictures included."""
    data: dict[str, Any]
    """Digest and number of the pictures, number of classes."""
    options: tuple[str, ...] = ()
    """Of the command line, as far as they changed the recipe."""
    version: str = ""
    """Of the project, when the table was begun."""

    @property
    def num_pictures(self) -> int:
        """That are trained on in an epoch."""
        return self.limit or self.data["count"]


def parse_row(config: Config, overrides: Sequence[str]) -> Config:
    """The recipe with a row over it.

    Raises:
        UserError: they do not go together.
    """
    return parse_config(to_plain(config), list(overrides))


def scale_of(config: Config, *, num_pictures: int) -> dict[str, int]:
    """What a row's overrides may name."""
    model, epochs = config.model, config.train.epochs
    hidden = model.projector_hidden or model.projection_dim
    return {
        "width": model.projection_dim,
        "half_width": max(model.projection_dim // 2, 1),
        "quarter_width": max(model.projection_dim // 4, 1),
        "eighth_width": max(model.projection_dim // 8, 1),
        "half_hidden": max(hidden // 2, 1),
        "double_hidden": 2 * hidden,
        "epochs": epochs,
        "half_epochs": max(epochs // 2, 1),
        "quarter_epochs": max(epochs // 4, 1),
        "steps_per_epoch": num_pictures // config.train.batch_size,
    }


def fill_rows(
    table: Table, config: Config, *, num_pictures: int
) -> tuple[list[Planned], list[str]]:
    """Its rows in numbers, and why others are left out."""
    scale = scale_of(config, num_pictures=num_pictures)
    rows: list[Planned] = []
    left_out: list[str] = []
    known: dict[object, str] = {}
    for row in table.rows:
        overrides = tuple(row.fill(scale))
        made = parse_row(config, overrides)
        # Two ways to write the same views are the same.
        made_of = dataclasses.replace(made, augment=config.augment), build_train_specs(made.augment)
        if made.train.batch_size * _MIN_STEPS > num_pictures:
            left_out.append(
                f"{row.what}: an epoch of {num_pictures:,} pictures has less than {_MIN_STEPS} "
                f"batches of {made.train.batch_size:,}"
            )
        elif made_of in known:
            left_out.append(f"{row.what}: with this recipe the same as {known[made_of]}")
        else:
            known[made_of] = row.what
            rows.append(Planned(row=row, overrides=overrides))
    return rows, left_out


def cost_of(config: Config) -> float:
    """Arithmetic of training on one picture, by the rest of the configuration.

    Raises:
        UserError: it cannot be trained so.
    """
    try:
        flops = Task().count_flops(config)
    except ValueError as error:
        raise UserError(str(error)) from None
    assert flops is not None
    return float(flops)


def choose_length(
    rows: Sequence[Planned],
    config: Config,
    *,
    budget_s: float,
    pace: float,
    num_pictures: int,
    num_bank: int,
    num_queries: int,
) -> tuple[int, int]:
    """Epochs, and pictures of each, so that all rows end within the budget.

    Args:
        rows: to be run.
        config: of the recipe.
        budget_s: of all of them, with one seed, s.
        pace: of the recipe's own row, images/s.
        num_pictures: that may be trained on.
        num_bank: labelled pictures that kNN may look among.
        num_queries: validation pictures of the last evaluation; 0: there is none.

    Raises:
        UserError: not even the shortest run does.
    """
    base = cost_of(config)
    costs = sum(_cost_of_row(config, planned) for planned in rows) / base
    room = (budget_s - _START_S * len(rows)) * pace * _MARGIN

    bank = min(config.eval.max_bank or num_bank, num_bank)
    some = min(config.eval.max_queries or num_queries, num_queries)
    extracted = _NUM_EVALUATIONS * bank + (_NUM_EVALUATIONS - 1) * some + num_queries
    if num_queries:
        room -= len(rows) * _EVALUATION * extracted
    batch = config.train.batch_size
    for pictures in range(num_pictures - num_pictures % batch, 0, -batch):
        epochs = int(room / (costs * pictures))
        if epochs >= _MIN_EPOCHS and pictures >= _MIN_STEPS * batch:
            return epochs, pictures
    least = _MIN_STEPS * batch
    lacking = (_MIN_EPOCHS * costs * least - room) / (pace * _MARGIN)
    raise UserError(
        f"--budget: {budget_s / 60:.1f} minutes for a seed are too few; the shortest runs of "
        f"{len(rows)} variants take {(budget_s + lacking) / 60:.1f}"
    )


def _cost_of_row(config: Config, planned: Planned) -> float:
    """Of an epoch of the recipe."""
    made = parse_row(config, planned.overrides)
    return cost_of(made) * made.train.epochs / config.train.epochs


def describe_data(source: Source) -> dict[str, Any]:
    """What tells one data set from another."""
    return {
        "digest": source.digest,
        "count": len(source),
        "num_classes": len(source.classes) if source.classes else 0,
    }


def write_plan(plan: Plan, path: Path) -> None:
    """As JSON."""
    plain = dataclasses.asdict(plan) | {"config": to_plain(plan.config)}
    write_atomically(path, json.dumps(plain, indent=1).encode() + b"\n")


def read_plan(path: Path) -> Plan:
    """What `write_plan` has written.

    Raises:
        UserError: it cannot be read.
    """
    try:
        plain = json.loads(path.read_bytes())
        table = _read_table(plain["table"])
        return Plan(
            name=plain["name"],
            table=table,
            rows=tuple(
                Planned(row=_read_row(found["row"]), overrides=tuple(found["overrides"]))
                for found in plain["rows"]
            ),
            left_out=tuple(plain["left_out"]),
            seeds=plain["seeds"],
            epochs=plain["epochs"],
            limit=plain["limit"],
            config=parse_config(plain["config"], []),
            data=plain["data"],
            options=tuple(plain["options"]),
            version=plain["version"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read as a plan of the laboratory ({error}); choose another --out"
        ) from error


def _read_table(plain: Mapping[str, Any]) -> Table:
    grid = tuple((name, tuple(values)) for name, values in plain["grid"])
    return Table(**{**plain, "rows": tuple(map(_read_row, plain["rows"])), "grid": grid})


def _read_row(plain: Mapping[str, Any]) -> Row:
    return Row(**{**plain, "overrides": tuple(plain["overrides"])})
