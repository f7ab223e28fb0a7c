"""report.png: the curves of all runs, a panel for each figure, and below them their neighbours."""

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...model.method import Axis, build_method
from ..canvas import new_figure
from .neighbours import Neighbours
from .series import Over, Run, Series
from .tiles import block_height, draw_neighbours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 13.2
_PANEL_HEIGHT = 3.1
_COLUMNS = 3
_DPI = 110
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#000000", "#8C564B", "#7F7F7F", "#9467BD"),
)
"""Okabe and Ito's first: told apart by all."""
_SMOOTH_FROM = 60  # points: fewer are seen one by one
_WINDOWS = 40  # medians along a curve


class Panel(NamedTuple):
    """One figure of all runs."""

    name: str
    axis: Axis
    kind: str = "train"


def draw_report(
    runs: Sequence[Run], neighbours: Mapping[str, Neighbours], *, over: Over = "epoch"
) -> "Figure":
    """The whole picture.

    Args:
        runs: one colour each.
        neighbours: by the run's name; of those that have any.
        over: what the curves go along.
    """

    panels = choose_panels(runs)
    lines = -(-len(panels) // _COLUMNS)
    heights = [_PANEL_HEIGHT * lines + 0.5, *(block_height(n) for n in neighbours.values())]
    figure = new_figure((_WIDTH, sum(heights)))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_curves(parts[0], runs, panels, over=over)
    colours = choose_colours(runs)
    for part, (name, found) in zip(parts[1:], neighbours.items(), strict=True):
        colour = colours[name] if len(runs) > 1 else "black"
        draw_neighbours(part, found, name=plain(name), colour=colour)
    return figure


def to_png(figure: "Figure") -> bytes:
    """As it is written into a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def choose_panels(runs: Sequence[Run]) -> list[Panel]:
    """The loss, kNN, all other figures that any of the runs has, and the pace."""
    axes: dict[str, Axis] = {}
    for run in runs:
        with torch.device("meta"):  # no weights are made
            axes |= build_method(run.config.model).axes
    names = list(dict.fromkeys(["loss", *(name for run in runs for name in run.figures)]))
    loss, *others = [Panel(name, axes.get(name, Axis(name))) for name in names]
    knn = Panel("knn", Axis("kNN, %  (dotted: before training)"), kind="knn")
    pace = Panel("images_per_s", Axis("images/s, end-to-end", 0))
    waits = Panel("data_wait_percent", Axis("waiting for data, % of the time", 0))
    return [loss, knn, *others, pace, waits]


def choose_colours(runs: Sequence[Run]) -> dict[str, Any]:
    """One for each run, by its name."""
    return dict(zip([run.name for run in runs], choose_hues(len(runs)), strict=True))


def choose_hues(count: int) -> list[Any]:
    """So many, told apart as well as they can be."""
    if count <= len(_COLOURS):
        return list(_COLOURS[:count])
    from matplotlib import colormaps

    wheel = colormaps["turbo"]
    return [wheel(number / (count - 1)) for number in range(count)]


def smooth(series: Series) -> Series:
    """Medians of neighbouring points, where there are so many that they hide the course."""
    width = len(series.values) // _WINDOWS
    if len(series.values) < _SMOOTH_FROM or width < 2:
        return series
    half = width // 2
    values = [
        statistics.median(series.values[max(at - half, 0) : at + half + 1])
        for at in range(len(series.values))
    ]
    return Series(series.places, values)


def plain(text: str) -> str:
    """A name may hold bytes that are no character, and a $ would begin a formula."""
    return text.encode("utf-8", "replace").decode().replace("$", r"\$")


def _draw_curves(part: Any, runs: Sequence[Run], panels: Sequence[Panel], *, over: Over) -> None:
    lines = -(-len(panels) // _COLUMNS)
    grid = list(part.subplots(lines, _COLUMNS, squeeze=False).flat)
    colours = choose_colours(runs)
    for panel, axes in zip(panels, grid, strict=False):
        _draw_panel(axes, panel, runs, colours, over=over)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    if len(runs) == 1:
        part.suptitle(plain(runs[0].name), fontsize=13)
        return
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colours[run.name], linewidth=2.5) for run in runs]
    names = [plain(run.name) for run in runs]
    part.legend(handles, names, loc="outside upper center", ncols=min(len(runs), 5), frameon=False)


def _draw_panel(
    axes: "Axes", panel: Panel, runs: Sequence[Run], colours: Mapping[str, Any], *, over: Over
) -> None:
    is_empty = True
    for run in runs:
        series = run.series(panel.name, over=over, kind=panel.kind)
        colour = colours[run.name]
        if panel.kind == "knn":
            _draw_floors(axes, run, colour, is_only=len(runs) == 1)
        if not series.values:
            continue
        is_empty = False
        curve = smooth(series)
        if curve is not series:  # every point that is there is drawn, faintly
            axes.plot(*series, color=colour, linewidth=0.7, alpha=0.25)
        marks = "o" if len(series.values) < _SMOOTH_FROM else None
        axes.plot(*curve, color=colour, linewidth=1.8, marker=marks, markersize=3.5, label=run.name)
    axes.set_title(panel.axis.title, fontsize=10.5, loc="left")
    axes.set_xlabel(over, fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if is_empty:
        axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, ha="center", color="gray")
    axes.margins(y=0.1)
    axes.set_ylim(bottom=panel.axis.low, top=panel.axis.high)
    axes.set_xlim(left=0)


def _draw_floors(axes: "Axes", run: Run, colour: Any, *, is_only: bool) -> None:
    """What the features must be above to be worth anything; named where there is room for it:
    the curve begins at the lower left and ends at the upper right.
    """
    first = run.series("knn", kind="knn").values[:1]
    for name, knn in run.floors.items():
        is_start = [knn] == first
        axes.axhline(
            knn, linestyle=":", color="#555555" if is_only else colour, linewidth=1.4, label=name
        )
        if is_only:
            axes.annotate(
                f"{name}  {knn:.1f}",
                (1.0 if is_start else 0.0, knn),
                xycoords=("axes fraction", "data"),
                xytext=(-2 if is_start else 4, 3),
                textcoords="offset points",
                ha="right" if is_start else "left",
                fontsize=8,
                color="#555555",
            )
