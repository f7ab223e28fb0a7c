"""A table is begun: its data, its recipe and its length are chosen; or it is gone on with."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.errors import UserError
from ...pipeline.sources import Source, open_source
from ..config import Config, read_config, replace, split_override
from ..device import choose_device
from ..versions import describe_version
from .data_set import add_data, count_labelled, describe_data, find_data
from .grid import refuse_own
from .length import NUM_EVALUATIONS, choose_length
from .pace import measure_apart
from .plan import PLAN, Plan, Planned, fill_rows, read_plan, write_plan
from .runs import RUNS
from .seats import make_seats
from .table import Table

_RUN_S = 240.0
"""Of each run, where no budget is given."""
_RECIPES = {"cpu": "cifar10-cpu", "cuda": "cifar10-r18-800ep"}
_MANY = 10**6  # pictures; whether there are enough is seen when they are there


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says; None: nothing."""

    data: str | None
    val: str | None
    config: str | None
    overrides: tuple[str, ...]
    budget_s: float | None
    epochs: int | None
    pictures: int | None
    seeds: int
    jobs: int | None = None


def begin_plan(
    out: Path, name: str, table: Table, asked: Asked, *, tell: Callable[[str], None]
) -> Plan:
    """Choose all of it, and keep it.

    Raises:
        UserError: the data, the recipe or the budget do not go.
    """
    _check(asked)
    if (out / RUNS).exists():
        raise UserError(f"--out={out}: holds runs, and no {PLAN} that they are of; choose another")
    recipe = _read_recipe(asked)
    fill_rows(table, recipe, num_pictures=_MANY)  # a mistake in it comes before the pictures
    config = add_data(recipe, asked.data, asked.val)
    assert config.data.path is not None
    source = open_source(config.data.path, field="--data")
    epochs, pictures = _choose(table, config, asked, source, tell=tell)
    limit = pictures if pictures < len(source) else None
    config = replace(
        config,
        data={"limit": limit},
        train={"epochs": epochs},
        eval={"every": -(-epochs // NUM_EVALUATIONS)},
    )
    rows, left_out = fill_rows(table, config, num_pictures=pictures)
    _check_rows(rows, left_out)
    plan = Plan(
        name=name,
        table=table,
        rows=tuple(rows),
        left_out=tuple(left_out),
        seeds=asked.seeds,
        epochs=epochs,
        limit=limit,
        config=config,
        data=describe_data(config, source),
        version=describe_version(),
        named=_name_data(asked),
        options=_name_options(asked),
        budget_s=asked.budget_s,
    )
    _write(plan, out)
    return plan


def _name_options(asked: Asked) -> tuple[str, ...]:
    """What changes the recipe."""
    config = ["--config", asked.config] if asked.config else []
    return (*config, *(text for override in asked.overrides for text in ("--set", override)))


def _name_data(asked: Asked) -> tuple[str, ...]:
    """What names the pictures, whatever their paths are."""
    options = ("--data", asked.data), ("--val", asked.val)
    return tuple(f"{option} {option[2:].upper()}" for option, path in options if path)


def _check(asked: Asked) -> None:
    """Raise UserError for options that do not go together."""
    if asked.val and not asked.data:
        raise UserError("--val: is for your own pictures; give --data as well")
    if asked.pictures and asked.epochs is None:
        raise UserError("--pictures: goes with --epochs; a budget chooses both")
    if asked.epochs is not None and asked.budget_s is not None:
        raise UserError("--budget: --epochs says how long; give one of them")


def _read_recipe(asked: Asked) -> Config:
    """As all variants have it."""
    for override in asked.overrides:
        refuse_own(".".join(split_override(override)[:2]))
    recipe = asked.config or _RECIPES[choose_device("auto").name]
    config = read_config(recipe, list(asked.overrides))
    # A variant that collapses is what is looked for; of each run one checkpoint goes on with it.
    return replace(
        config,
        train={"on_collapse": "warn", "device": choose_device(config.train.device).name},
        run={"keep_checkpoints": 1, "keep_best": False},
        eval={"floors": False},
    )


def _choose(
    table: Table, config: Config, asked: Asked, source: Source, *, tell: Callable[[str], None]
) -> tuple[int, int]:
    """Epochs, and pictures of each."""
    seats = make_seats(asked.jobs, config.train.device)
    if asked.epochs is not None:
        return asked.epochs, min(asked.pictures or len(source), len(source))
    rows, left_out = fill_rows(table, config, num_pictures=len(source))
    _check_rows(rows, left_out)
    budget_s = asked.budget_s or _RUN_S * len(rows) * asked.seeds
    tell(f"measuring the pace of {config.model.backbone} …")
    pace = measure_apart(config, seats)
    tell(f"{pace:,.0f} images/s, end-to-end" + f", each of {len(seats)}" * (len(seats) > 1))
    bank, queries = count_labelled(config, source)
    epochs, pictures, planned = 0, len(source), 0
    # Fewer pictures may leave rows out, whose time is the others'. More pictures than that would
    # bring them back: the time goes into epochs.
    while planned != len(rows):
        planned = len(rows)
        epochs, pictures = choose_length(
            rows,
            config,
            budget_s=budget_s,
            pace=pace,
            num_pictures=pictures,
            num_bank=bank,
            num_queries=queries,
            seeds=asked.seeds,
            jobs=len(seats),
        )
        rows, left_out = fill_rows(table, config, num_pictures=pictures)
        _check_rows(rows, left_out)
    return epochs, pictures


def _check_rows(rows: Sequence[Planned], left_out: Sequence[str]) -> None:
    if not rows:
        raise UserError(
            f"--data: none of the variants can be run: {'; '.join(left_out)}; give more pictures, "
            "or --set train.batch_size=N with a smaller N"
        )


def _write(plan: Plan, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_plan(plan, out / PLAN)
    except OSError as error:
        raise UserError(
            f"--out={out}: cannot be written to ({error.strerror or error}); choose another"
        ) from error


def continue_plan(
    out: Path, name: str, table: Table, asked: Asked, *, tell: Callable[[str], None]
) -> Plan:
    """The plan that lies there, with more seeds where they are asked for.

    Raises:
        UserError: it is another table's, or is asked to become another.
    """
    plan = read_plan(out / PLAN)
    if plan.name != name:
        raise UserError(f"--out={out}: holds the table {plan.name}; choose another")
    if plan.table.grid != table.grid:
        held = " ".join(f"{key}={','.join(values)}" for key, values in plan.table.grid)
        raise UserError(f"--out={out}: holds the sweep over {held}; choose another")
    _check(asked)
    differing = _find_differing(plan, asked)
    if differing:
        given, there = differing[0]
        raise UserError(
            f"{given}: the table was begun with {there}, and goes on so; choose another --out for "
            "another one"
        )
    assert plan.config.data.path is not None
    found = describe_data(plan.config, open_source(plan.config.data.path, field="--data"))
    if not found.is_of(plan.data):
        raise UserError(
            f"--data: not the pictures that the table was begun with ({plan.data.count:,} then, "
            f"{found.count:,} now, or others); put those back, or choose another --out"
        )
    if asked.seeds > plan.seeds:
        plan = dataclasses.replace(plan, seeds=asked.seeds)
        _write(plan, out)
    if describe_version() != plan.version:
        tell(f"begun by {plan.version}; goes on by {describe_version()}, which the page tells")
    return plan


def _find_differing(plan: Plan, asked: Asked) -> list[tuple[str, Any]]:
    """What was given and is not as it was begun."""
    config, count = plan.config, plan.data.count
    differing: list[tuple[str, Any]] = []
    if asked.data is not None:
        path, val = find_data(asked.data, asked.val)
        if (path, val) != (config.data.path, config.data.val_path):
            differing.append((f"--data={asked.data}", config.data.path))
    options = _name_options(asked)
    if options and options != plan.options:
        differing.append((" ".join(options), " ".join(plan.options) or "none of them"))
    if asked.budget_s is not None and asked.budget_s != plan.budget_s:
        was = "none" if plan.budget_s is None else f"{plan.budget_s / 60:g}"
        differing.append((f"--budget={asked.budget_s / 60:g}", was))
    if asked.epochs is not None and asked.epochs != plan.epochs:
        differing.append((f"--epochs={asked.epochs}", plan.epochs))
    if asked.pictures is not None and min(asked.pictures, count) != plan.num_pictures:
        differing.append((f"--pictures={asked.pictures}", plan.num_pictures))
    return differing
