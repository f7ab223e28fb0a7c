"""Tables in numbers: their rows over a recipe, their length, and what is kept of them."""

from pathlib import Path

import pytest
import torch
from swiftsiam.model.method import build_method
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.config import Config, replace
from swiftsiam.train.lab.grid import build_grid
from swiftsiam.train.lab.length import choose_length, cost_of
from swiftsiam.train.lab.plan import (
    fill_rows,
    parse_row,
    read_plan,
    write_plan,
)
from swiftsiam.train.lab.table import Row
from swiftsiam.train.lab.tables import TABLES

from .conftest import CPU, make_plan

RECIPES = {"cpu": CPU, "imagenet": Config()}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_every_table_can_be_built(name: str, recipe: str) -> None:
    config, table = RECIPES[recipe], TABLES[name]
    rows, left_out = fill_rows(table, config, num_pictures=50_000)
    assert len(rows) + len(left_out) == len(table.rows)
    assert len({planned.row.name for planned in rows}) == len(rows) >= 2
    for planned in rows:
        with torch.device("meta"):
            model = build_method(parse_row(config, planned.overrides).model)
        assert model.parameter_groups()


def test_rows_that_a_recipe_cannot_tell_apart_or_fill_are_left_out() -> None:
    rows, left_out = fill_rows(TABLES["augmentations"], CPU, num_pictures=5000)
    assert "no-blur" not in [planned.row.name for planned in rows]
    assert left_out == ["no blur: with this recipe the same as all"]
    _, left_out = fill_rows(TABLES["batch-size"], CPU, num_pictures=5000)
    assert [reason.partition(":")[0] for reason in left_out] == ["1,024", "2,048", "4,096"]


def test_numbers_of_a_row_follow_the_recipe() -> None:
    rows, _ = fill_rows(TABLES["alternation"], CPU, num_pictures=12_800)
    held = [parse_row(CPU, planned.overrides).model for planned in rows[1:]]
    assert [model.hold_steps for model in held] == [1, 10, 100, 200]  # type: ignore[attr-defined]


@pytest.mark.parametrize("budget_s", [600.0, 3600.0, 36_000.0])
def test_a_budget_is_used_and_kept(budget_s: float) -> None:
    rows, _ = fill_rows(TABLES["relatives"], CPU, num_pictures=20_000)
    sizes = {"num_pictures": 20_000, "num_bank": 20_000, "num_queries": 2000}
    epochs, pictures = choose_length(rows, CPU, budget_s=budget_s, pace=400.0, **sizes)
    base = cost_of(CPU)
    cost = sum(cost_of(parse_row(CPU, planned.overrides)) / base for planned in rows)
    seconds = epochs * pictures * cost / 400.0
    assert 0.4 * budget_s < seconds < budget_s
    assert epochs >= 8
    assert pictures % CPU.train.batch_size == 0
    longer, _ = choose_length(rows, CPU, budget_s=20 * budget_s, pace=400.0, **sizes)
    assert longer > epochs


def test_a_budget_counts_runs_and_what_goes_side_by_side() -> None:
    rows, _ = fill_rows(TABLES["relatives"], CPU, num_pictures=20_000)
    assert len(rows) == 5

    def choose(seeds: int, jobs: int) -> int:
        sizes = {"num_pictures": 20_000, "num_bank": 20_000, "num_queries": 2000}
        asked = {"budget_s": 36_000.0, "pace": 400.0, "seeds": seeds, "jobs": jobs}
        return choose_length(rows, CPU, **asked, **sizes)[0]

    assert choose(4, 1) == pytest.approx(choose(1, 1) / 4, rel=0.1)
    assert choose(4, 4) == pytest.approx(choose(1, 1), rel=0.3)
    # Whichever sits with another one sets the end: two of five beside each other, then two, one.
    assert choose(1, 2) < 2 * choose(1, 1) - 1
    assert choose(1, 5) == choose(1, 50)


def test_a_budget_too_short_is_refused_and_says_what_it_takes() -> None:
    rows, _ = fill_rows(TABLES["stop-gradient"], CPU, num_pictures=20_000)
    sizes = {"num_pictures": 20_000, "num_bank": 20_000, "num_queries": 2000}
    with pytest.raises(UserError, match=r"--budget: 0\.5 minutes") as refused:
        choose_length(rows, CPU, budget_s=30, pace=400.0, **sizes)
    needed = float(str(refused.value).split()[-1])
    choose_length(rows, CPU, budget_s=60 * (needed + 0.1), pace=400.0, **sizes)
    with pytest.raises(UserError):
        choose_length(rows, CPU, budget_s=60 * (needed - 0.1), pace=400.0, **sizes)


@pytest.mark.parametrize(("epochs", "warm_up"), [(8, 1), (100, 10), (800, 10)])
def test_large_batches_are_warmed_up_over_a_tenth_of_short_runs(epochs: int, warm_up: int) -> None:
    config = replace(CPU, train={"epochs": epochs})
    rows, _ = fill_rows(TABLES["batch-size"], config, num_pictures=50_000)
    found = [parse_row(config, planned.overrides).optim.warmup_epochs for planned in rows]
    assert found == [None] * 4 + [warm_up] * 3


@pytest.mark.parametrize("name", TABLES)
def test_a_plan_survives_its_file(name: str, tmp_path: Path) -> None:
    write_plan(make_plan(name), tmp_path / "lab.json")
    assert read_plan(tmp_path / "lab.json") == make_plan(name)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"name": "predictor"}'])
def test_a_damaged_plan_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="choose another --out"):
        read_plan(path)


def test_a_grid_is_all_combinations() -> None:
    table = build_grid(["optim.base_lr=0.1,0.2", "optim.weight_decay=1e-4, 5e-4,0"])
    assert len(table.rows) == 6
    assert table.rows[1].overrides == ("optim.base_lr=0.1", "optim.weight_decay=5e-4")
    assert table.rows[5].what == "base_lr 0.2, weight_decay 0"
    rows, _ = fill_rows(table, CPU, num_pictures=5000)
    made = {parse_row(CPU, planned.overrides).optim for planned in rows}
    assert len(made) == 6


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["base_lr=1"], "section.key=value"),
        (["optim.base_lr=1,1"], "each of them once"),
        (["optim.base_lr=1,,2"], "each of them once"),
        (["optim.base_lr=1", "optim.base_lr=2"], "given twice"),
        (["model.projection_dim={width},{widht}"], "braces"),
        (["optim.base_lr=" + ",".join(map(str, range(101)))], "100 at most"),
    ],
)
def test_grids_that_are_none_are_refused(keys: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_grid(keys)


def test_rows_say_what_the_paper_reports() -> None:
    for name, table in TABLES.items():
        published = [row.published for row in table.rows if row.published is not None]
        assert bool(published) == (not table.source.startswith("No table")), name
        for row in table.rows:
            assert not row.collapses or row.published == 0.1


def test_names_of_rows_are_names_of_folders() -> None:
    with pytest.raises(AssertionError):
        Row(name="a/b", what="")


@pytest.mark.parametrize("name", ["train.seed", "train.epochs", "data.limit", "run.dir"])
def test_what_the_laboratory_sets_is_not_swept(name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: set by the laboratory itself"):
        build_grid([f"{name}=1,2"])


def test_rows_that_their_method_refuses_are_left_out_before_any_is_run() -> None:
    config = replace(CPU, train={"batch_size": 4096})
    rows, left_out = fill_rows(TABLES["relatives"], config, num_pictures=50_000)
    assert "moco" not in [planned.row.name for planned in rows]
    assert "model.queue=8192 or more" in left_out[0]
