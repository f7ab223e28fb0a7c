"""What is drawn, by the figure object rather than by its pixels."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from swiftsiam.train.reporting.picture import choose_colours, draw_report, smooth
from swiftsiam.train.reporting.series import Run, Series, read_runs

from .conftest import Change, read_records

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("single_thread")]


def panels_of(figure: Figure) -> dict[str, Any]:
    """Axes of the curves by their titles."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_the_panels(made: Path, copy: Change) -> None:
    runs = read_runs([made, copy("other")])
    figure = draw_report(runs, {})
    panels = panels_of(figure)
    assert list(panels) == [
        "loss (collapsed: -1)",
        "kNN, %  (dotted: before training)",
        "z_std·√d (healthy: 1, collapsed: 0)",
        "effective rank of z (collapsed: 1)",
        "images/s, end-to-end",
        "waiting for data, % of the time",
    ]
    records = read_records(made)
    names = ("loss", "knn", "z_std", "effective_rank", "images_per_s", "data_wait_percent")
    for axes, name in zip(panels.values(), names, strict=True):
        kind = "knn" if name == "knn" else "train"
        drawn = [line for line in axes.lines if line.get_linestyle() == "-"]
        assert len({to_hex(line.get_color()) for line in drawn}) == 2
        records_of = [r for r in records if r["type"] == kind and name in r]
        expected = [[r["epoch_progress"], r[name]] for r in records_of]
        for line in drawn:
            assert line.get_xydata().tolist() == expected
    (legend,) = figure.subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["run", "other"]


def test_the_floors_are_dotted(made: Path) -> None:
    runs = read_runs([made])
    axes = panels_of(draw_report(runs, {}))["kNN, %  (dotted: before training)"]
    lines = [line for line in axes.lines if line.get_linestyle() == ":"]
    dotted = {line.get_label(): line.get_ydata()[0] for line in lines}
    assert dotted == runs[0].floors
    assert set(dotted) == {"raw pixels", "random initialisation"}


def test_curves_over_steps(made: Path) -> None:
    axes = panels_of(draw_report(read_runs([made]), {}, over="step"))["loss (collapsed: -1)"]
    steps = [r["step"] for r in read_records(made) if "loss" in r]
    assert axes.lines[0].get_xdata().tolist() == steps
    assert axes.get_xlabel() == "step"


def test_many_points_are_smoothed_and_still_drawn() -> None:
    places = list(map(float, range(400)))
    noisy = Series(places, [1.0 if place % 7 else 50.0 for place in places])
    assert set(smooth(noisy).values) == {1.0}
    assert smooth(noisy).places == places
    few = Series(places[:20], noisy.values[:20])
    assert smooth(few) == few


@pytest.mark.parametrize("count", [1, 10, 13])
def test_each_run_has_a_colour(made: Path, count: int) -> None:
    (run,) = read_runs([made])
    runs = [Run(name=str(n), path=made, config=run.config, metrics=[]) for n in range(count)]
    assert len({to_hex(colour) for colour in choose_colours(runs).values()}) == count
