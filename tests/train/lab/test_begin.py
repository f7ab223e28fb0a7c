"""How a table is begun: its pictures, and its length within a budget."""

from pathlib import Path
from typing import Any, cast

import pytest
from swiftsiam.pipeline.sources import Source
from swiftsiam.train.config import replace
from swiftsiam.train.lab import begin, data_set
from swiftsiam.train.lab.begin import Asked, _choose
from swiftsiam.train.lab.data_set import add_data, count_labelled, find_data
from swiftsiam.train.lab.length import cost_of
from swiftsiam.train.lab.plan import fill_rows, parse_row
from swiftsiam.train.lab.tables import TABLES

from .conftest import CPU

PACE = 250.0


class _Pictures:
    """So many, of which nothing else is asked."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


def _ask(**given: Any) -> Asked:
    nothing = dict.fromkeys(("data", "val", "config", "budget_s", "epochs", "pictures", "jobs"))
    return Asked(**{**nothing, "overrides": (), "seeds": 1, **given})


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begin, "measure_apart", lambda *_: PACE)


@pytest.mark.parametrize("minutes", [12, 15, 20, 28, 90])
def test_rows_that_a_short_budget_leaves_out_do_not_come_back(minutes: int) -> None:
    """Only so many pictures that large batches are left out; their time is the others'."""
    pictures = cast("Source", _Pictures(50_000))
    asked = _ask(budget_s=60.0 * minutes)
    epochs, count = _choose(TABLES["batch-size"], CPU, asked, pictures, tell=lambda _: None)
    config = replace(CPU, train={"epochs": epochs})
    rows, _ = fill_rows(TABLES["batch-size"], config, num_pictures=count)
    made = [parse_row(config, planned.overrides) for planned in rows]
    cost = sum(cost_of(each) for each in made) / cost_of(CPU)
    assert 30 * minutes < epochs * count * cost / PACE < 60 * minutes


def test_few_pictures_are_enough_for_rows_with_smaller_batches() -> None:
    config = replace(CPU, train={"batch_size": 512})
    pictures = cast("Source", _Pictures(2000))
    _, count = _choose(
        TABLES["batch-size"], config, _ask(budget_s=3600.0), pictures, tell=lambda _: None
    )
    assert 1900 < count <= 2000


def test_parts_of_a_folder_are_found_by_their_usual_names(pictures: Path, tmp_path: Path) -> None:
    classes = str(pictures / "train")
    for name in ("Train", "validation"):
        (tmp_path / name).symlink_to(pictures)
    found = find_data(str(tmp_path), None)
    assert found == (str(tmp_path / "Train"), str(tmp_path / "validation"))
    assert find_data(classes, None) == (classes, classes)


def test_pictures_come_from_the_command_line_or_the_recipe_or_are_generated(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_set, "prepare_generated", lambda: ("drawn", "drawn too"))
    classes = str(pictures / "train")
    own = replace(CPU, data={"path": "mine", "val_path": "asks"})
    none = replace(CPU, data={"path": None, "val_path": None})
    for recipe, given, path, val in (
        (own, classes, classes, classes),
        (own, None, "mine", "asks"),
        (none, None, "drawn", "drawn too"),
    ):
        made = add_data(recipe, given, None).data
        assert (made.path, made.val_path) == (path, val)


def test_where_the_same_pictures_ask_a_fifth_does() -> None:
    source = cast("Source", _Pictures(1000))
    for val, counts in ((None, (1000, 0)), ("x", (800, 200))):
        assert count_labelled(replace(CPU, data={"path": "x", "val_path": val}), source) == counts
