"""What runs have reached: figures, states, and the paper's order beside ours."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from swiftsiam.train.config import replace
from swiftsiam.train.lab import picture, twins
from swiftsiam.train.lab.grid import build_grid
from swiftsiam.train.lab.grid_picture import _read
from swiftsiam.train.lab.markdown import write_markdown
from swiftsiam.train.lab.order import Pooled, compare_order
from swiftsiam.train.lab.outcome import read_outcomes, to_records
from swiftsiam.train.lab.picture import draw_table
from swiftsiam.train.lab.plan import fill_rows
from swiftsiam.train.lab.runs import list_wanted
from swiftsiam.train.lab.twins import borrow_runs
from swiftsiam.train.reporting.series import Series

from .conftest import VERSION, MakeTable, make_plan, write_run

STOP = {"simsiam": [40.0, 42.0], "no-stop-gradient": [20.0, 21.0]}


def test_figures_are_means_over_the_seeds(make_table: MakeTable) -> None:
    plan, folder = make_table("stop-gradient", STOP)
    outcomes = {o.row.name: o for o in read_outcomes(plan, folder)}
    spread = outcomes["simsiam"].spread("knn")
    assert spread is not None
    assert spread.mean == 41
    assert spread.deviation == pytest.approx(2**0.5)
    assert outcomes["no-output-norm-1"].spread("knn") is None
    assert len(to_records(list(outcomes.values()))) == 4


def test_collapse_is_what_the_trainers_guard_calls_so(make_table: MakeTable) -> None:
    spread = {"simsiam": 0.9, "no-stop-gradient": 0.3}
    plan, folder = make_table("stop-gradient", STOP, **spread)
    outcomes = read_outcomes(plan, folder)
    states = {o.row.name: o.tell_states() for o in outcomes}
    assert states["simsiam"] == "trained"
    assert states["no-stop-gradient"] == "collapsed"
    assert states["no-output-norm-1"] == "not run yet"
    assert "Collapse otherwise" not in write_markdown(plan, outcomes, picture="table.png")


def test_a_collapse_that_is_not_the_papers_is_told(make_table: MakeTable) -> None:
    plan, folder = make_table("stop-gradient", STOP, simsiam=0.3)
    page = write_markdown(plan, read_outcomes(plan, folder), picture="table.png")
    told = "**Collapse otherwise than in the paper**: with stop-gradient; without."
    assert told in page


def test_without_that_norm_collapse_is_complete(make_table: MakeTable) -> None:
    row = "no-output-norm-2"
    for z_std, state in ((0.28, "trained"), (0.06, "collapsed")):
        plan, folder = make_table("stop-gradient", {row: [20.0]}, **{row: z_std})
        (outcome,) = (o for o in read_outcomes(plan, folder) if o.row.name == row)
        assert outcome.tell_states() == state
        shutil.rmtree(folder)


def test_a_run_that_lost_its_finite_numbers_is_told_and_not_counted(make_table: MakeTable) -> None:
    plan, folder = make_table("stop-gradient", STOP)
    (lost,) = (e for e in list_wanted(plan, folder) if e.path.name == "simsiam-s1")
    lost.path.joinpath("diverged.json").write_text("{}")
    outcome = read_outcomes(plan, folder)[0]
    assert outcome.tell_states() == "1 of 2 trained, 1 of 2 diverged"
    spread = outcome.spread("knn")
    assert spread is not None
    assert (spread.mean, spread.deviation) == (40, None)


def test_only_what_the_paper_tells_apart_within_a_family_is_compared(
    make_table: MakeTable,
) -> None:
    rows = {"simclr": [1.0], "simclr-predictor": [3.5], "simclr-both": [4.0], "swav": [0.0]}
    plan, folder = make_table("crossings", rows | {"swav-predictor": [9.0]})
    order = compare_order(read_outcomes(plan, folder))
    assert order.reversed == [
        ("SimCLR", "SimCLR with predictor and stop-gradient"),
        ("SwAV", "SwAV with predictor"),
    ]
    assert not order.same
    assert not order.undecided


@pytest.mark.parametrize(
    ("with_stop", "without", "verdict"),
    [
        ([40, 41], [20, 21], "same"),
        ([20, 21], [40, 41], "reversed"),
        ([40, 44], [39, 42], "undecided"),
        ([40, 41], [42, 43], "undecided"),  # of two seeds a deviation is hardly known
        ([40, 40.1], [41, 41.1], "reversed"),
        ([40], [37.5], "same"),
        ([40], [38.5], "undecided"),  # one seed has no spread; two points are taken for it
    ],
)
def test_the_papers_order_is_compared_by_the_spread(
    with_stop: list[float], without: list[float], verdict: str, make_table: MakeTable
) -> None:
    plan, folder = make_table("stop-gradient", {"simsiam": with_stop, "no-stop-gradient": without})
    order = compare_order(read_outcomes(plan, folder))
    pairs = order._asdict()
    assert pairs.pop(verdict) == [("with stop-gradient", "without")]
    assert not any(pairs.values())
    page = write_markdown(plan, read_outcomes(plan, folder), picture="table.png")
    assert ("Not the paper's order" in page) == (verdict == "reversed")


@pytest.mark.parametrize("other", [[41.0, 43.0, 42.5], [40.5, 41.5]])
def test_the_margin_is_that_of_students_test(other: list[float], make_table: MakeTable) -> None:
    one = [40.0, 41.0]
    found = stats.ttest_ind(one, other).confidence_interval(0.95)
    plan, folder = make_table("similarity", {"simsiam": one, "cross-entropy": other})
    pooled = Pooled.of(read_outcomes(plan, folder))
    assert pooled is not None
    assert pooled.degrees == len(one) + len(other) - 2
    assert pooled.margin(len(one), len(other)) == pytest.approx((found.high - found.low) / 2)


def test_the_page_tells_the_versions_and_how_to_repeat_it(make_table: MakeTable) -> None:
    plan, folder = make_table("similarity", {"simsiam": [1.0, 2.0], "cross-entropy": [3.0]})
    page = write_markdown(plan, read_outcomes(plan, folder), picture="table.png")
    assert (
        f"By {VERSION}: `swiftsiam lab run similarity --data DATA --epochs 3 --pictures 5000 "
        "--set optim.momentum=0.8 --seeds 2`." in page
    )
    first = list_wanted(plan, folder)[0]
    older = json.dumps({"versions": {"swiftsiam": "1.1"}})
    first.path.joinpath("summary.json").write_text(older)
    page = write_markdown(plan, read_outcomes(plan, folder), picture="table.png")
    assert f"By {VERSION} (2 runs) and swiftsiam 1.1 (1 run)" in page


def test_a_sweep_is_not_the_papers_and_labels_may_lack(make_table: MakeTable) -> None:
    plan, folder = make_table("similarity", {})
    table = build_grid(["optim.base_lr=0.1,0.2"])
    rows, _ = fill_rows(table, plan.config, num_pictures=5000)
    unlabelled = dataclasses.replace(plan.data, num_classes=0)
    plan = dataclasses.replace(plan, table=table, rows=tuple(rows), data=unlabelled)
    page = write_markdown(plan, read_outcomes(plan, folder), picture="table.png")
    assert "Chen" not in page
    assert "lab sweep optim.base_lr=0.1,0.2 --data DATA" in page


def test_a_sweeps_cell_says_what_did_not_train(make_table: MakeTable) -> None:
    plan, folder = make_table("stop-gradient", STOP, simsiam=0.3)
    cells = [_read(outcome, "knn", ".1f").text for outcome in read_outcomes(plan, folder)]
    assert cells == ["41.0\ncollapsed", "20.5", "not run yet", "not run yet"]


def test_the_page_of_a_table_that_is_not_run_yet_says_so(make_table: MakeTable) -> None:
    plan, folder = make_table("predictor", {})
    page = write_markdown(plan, read_outcomes(plan, folder), picture="table.png")
    assert page.count("not run yet") == len(plan.rows)
    assert "Of 0" not in page
    draw_table("x", read_outcomes(plan, folder))


def test_the_picture_shows_every_row(make_table: MakeTable) -> None:
    plan, folder = make_table("stop-gradient", STOP)
    some = draw_table("title $", read_outcomes(plan, folder)[:1])
    both = draw_table("title $", read_outcomes(plan, folder))
    colours = [_colours(png) for png in (some, both)]
    blue, orange = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    assert blue in colours[0]
    assert orange not in colours[0]
    assert {blue, orange} <= colours[1]


def _colours(png: bytes) -> set[tuple[int, ...]]:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    return set(map(tuple, np.unique(pixels, axis=0).tolist()))


def test_what_another_table_has_run_is_taken(make_table: MakeTable) -> None:
    _, folder = make_table("stop-gradient", STOP)
    plan = make_plan("similarity", seeds=3)
    other = folder.parent / "similarity"
    other.mkdir()
    told = borrow_runs(plan, other)
    assert [text.partition(":")[0] for text in told] == ["simsiam-s0", "simsiam-s1"]
    outcomes = read_outcomes(plan, other)
    assert [run.knn for run in outcomes[0].runs] == [(40.0, 3), (42.0, 3)]
    assert not borrow_runs(plan, other)
    shutil.rmtree(folder)  # what becomes of the lender is its own affair
    assert [run.knn for run in read_outcomes(plan, other)[0].runs] == [(40.0, 3), (42.0, 3)]


def test_a_row_in_the_middle_takes_a_first_one_and_not_the_other_way_round(
    make_table: MakeTable,
) -> None:
    """The first run of a table has kNN before training as well, which its page tells."""
    _, folder = make_table("stop-gradient", {"simsiam": [40.0]})
    plan = make_plan("batch-norm", seeds=1)
    told = borrow_runs(plan, folder.parent / "batch-norm")
    assert told == ["simsiam-s0: taken from stop-gradient/runs/simsiam-s0"]
    shutil.rmtree(folder)
    shutil.rmtree(folder.parent / "batch-norm")
    make_table("batch-norm", {"simsiam": [40.0]})
    assert not borrow_runs(make_plan("similarity", seeds=1), folder.parent / "similarity")


def test_a_figure_that_was_measured_once_is_seen() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    picture._draw(axes, [Series([2.0], [31.0])], "black")
    (line,) = axes.lines
    assert line.get_marker() == "o"
    assert list(line.get_xdata()) == [2.0]


def test_runs_of_other_pictures_or_settings_are_not_taken(make_table: MakeTable) -> None:
    _, folder = make_table("stop-gradient", STOP)
    plan = make_plan("similarity")
    for other in (
        dataclasses.replace(plan, data=dataclasses.replace(plan.data, digest="9")),
        dataclasses.replace(plan, data=dataclasses.replace(plan.data, val_digest="9")),
        dataclasses.replace(plan, config=replace(plan.config, optim={"base_lr": 1.0})),
    ):
        assert not borrow_runs(other, folder.parent / "similarity")


@pytest.mark.parametrize("version", ["swiftsiam 1.2, commit abd", f"{VERSION}-dirty"])
def test_runs_of_other_code_are_not_taken(
    version: str, make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor those of code that was not committed, of which no two need be alike."""
    plan, folder = make_table("stop-gradient", STOP)
    for each in list_wanted(plan, folder)[:2]:
        versions = {"swiftsiam": "1.2", "commit": version.rpartition(" ")[2]}
        each.path.joinpath("summary.json").write_text(json.dumps({"versions": versions}))
    monkeypatch.setattr(twins, "describe_version", lambda: version)
    told = borrow_runs(make_plan("similarity"), folder.parent / "similarity")
    assert len(told) == (not version.endswith("dirty"))
    monkeypatch.setattr(twins, "describe_version", lambda: "another")
    assert not borrow_runs(make_plan("batch-norm"), folder.parent / "batch-norm")


def test_a_run_of_its_own_stays(make_table: MakeTable) -> None:
    _, folder = make_table("stop-gradient", STOP)
    plan = make_plan("similarity", seeds=1)
    other = folder.parent / "similarity"
    write_run(plan, list_wanted(plan, other)[0], knn=1.0)
    assert not borrow_runs(plan, other)
