"""What a table is run with: the same pictures, epochs and seeds for all of its rows, chosen so that
they fit a budget; kept beside the runs, so that they are continued with it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...model.backbones import build_backbone
from ...model.libraries import check_sizes
from ...model.method import Course, build_method
from ...pipeline.augment.spec import build_train_specs
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ..config import Config, parse_config, to_plain
from .data_set import DataSet
from .table import Row, Table

PLAN = "lab.json"
MIN_STEPS = 5
"""Of an epoch."""


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
    data: DataSet
    options: tuple[str, ...] = ()
    """Of the command line, as far as they changed the recipe."""
    named: tuple[str, ...] = ()
    """Of the command line, as far as they name pictures."""
    version: str = ""
    """Of the project, when the table was begun."""
    budget_s: float | None = None
    """That it was asked to fit into."""

    @property
    def num_pictures(self) -> int:
        """That are trained on in an epoch."""
        return self.limit or self.data.count


def parse_row(config: Config, overrides: Sequence[str]) -> Config:
    """The recipe with a row over it.

    Raises:
        UserError: they do not go together.
    """
    return parse_config(to_plain(config), list(overrides))


def scale_of(config: Config, *, num_pictures: int) -> dict[str, int]:
    """What a row's overrides may name."""
    model, epochs = config.model, config.train.epochs
    with torch.device("meta"):
        _, num_features = build_backbone(model.backbone)
    hidden = model.projector_hidden or num_features
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
        "warmup_epochs": min(max(epochs // 10, 1), 10),
        "steps_per_epoch": max(num_pictures // config.train.batch_size, 1),
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
        if made.train.batch_size * MIN_STEPS > num_pictures:
            left_out.append(
                f"{row.what}: an epoch of {num_pictures:,} pictures has less than {MIN_STEPS} "
                f"batches of {made.train.batch_size:,}"
            )
        elif made_of in known:
            left_out.append(f"{row.what}: with this recipe the same as {known[made_of]}")
        elif (refusal := _try(made, num_pictures=num_pictures)) is not None:
            left_out.append(f"{row.what}: {refusal}")
        else:
            known[made_of] = row.what
            rows.append(Planned(row=row, overrides=overrides))
    return rows, left_out


def _try(config: Config, *, num_pictures: int) -> str | None:
    """Why a row cannot be trained, by its method; None: it can."""
    steps = max(num_pictures // config.train.batch_size, 1)
    try:
        course = Course(
            sizes=tuple(spec.size for spec in build_train_specs(config.augment)),
            num_pictures=num_pictures,
            batch_size=config.train.batch_size,
            steps_per_epoch=steps,
            num_steps=steps * config.train.epochs,
        )
        check_sizes(config.model.backbone, course.sizes)
        with torch.device("meta"):  # no weights are made
            build_method(config.model).begin(course)
    except ValueError as error:  # UserError among them
        return str(error)
    return None


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
            data=DataSet(**plain["data"]),
            named=tuple(plain["named"]),
            options=tuple(plain["options"]),
            version=plain["version"],
            budget_s=plain["budget_s"],
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
