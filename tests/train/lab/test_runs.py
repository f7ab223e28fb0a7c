"""The runs of a table, one after the other: what fails, and what is asked for again."""

import pytest
from swiftsiam.pipeline.errors import MachineError
from swiftsiam.train.lab import runs
from swiftsiam.train.lab.runs import Wanted, list_wanted, run_all

from .conftest import MakeTable, make_plan, write_run


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were tried, of which asymmetric ones fail."""
    names: list[str] = []

    def run(each: Wanted, *_: object) -> bool:
        names.append(each.path.name)
        if each.planned.row.name == "asymmetric":
            raise MachineError(f"{each.path.name}: failed")
        write_run(make_plan("symmetry"), each, knn=1.0)
        return True

    monkeypatch.setattr(runs, "_run", run)
    return names


def test_a_run_that_fails_takes_no_others_with_it(make_table: MakeTable, made: list[str]) -> None:
    plan, folder = make_table("symmetry", {})
    told: list[str] = []
    with pytest.raises(MachineError, match=r"1 of 3 runs failed.*asymmetric-s0: failed"):
        run_all(plan, folder, tell=told.append, after_each=lambda: None)
    assert made == ["simsiam-s0", "asymmetric-s0", "asymmetric-2x-s0"]
    assert "asymmetric-s0: failed" in told
    made.clear()
    with pytest.raises(MachineError):  # the same command tries that one again, and no other
        run_all(plan, folder, tell=told.append, after_each=lambda: None)
    assert made == ["asymmetric-s0"]


def test_a_first_run_that_fails_is_told_at_once(make_table: MakeTable, made: list[str]) -> None:
    plan, folder = make_table("symmetry", {"simsiam": [1.0]})
    with pytest.raises(MachineError, match="asymmetric-s0"):
        run_all(plan, folder, tell=lambda _: None, after_each=lambda: None)
    assert made == ["asymmetric-s0"]


def test_all_rows_come_with_one_seed_before_the_next(make_table: MakeTable) -> None:
    plan, folder = make_table("similarity", {"simsiam": [1.0, 2.0]})
    names = [each.path.name for each in list_wanted(plan, folder)]
    assert names == ["simsiam-s0", "cross-entropy-s0", "simsiam-s1", "cross-entropy-s1"]
    first, *others = list_wanted(plan, folder)
    assert "eval.floors=true" in first.overrides
    assert not any("eval.floors=true" in each.overrides for each in others)
