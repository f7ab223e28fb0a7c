"""The picture of a table, as the paper's figure 2: loss, spread and kNN over the epochs."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...model.method import Axis
from ..canvas import new_figure
from ..reporting.picture import choose_hues, plain, smooth, to_png
from ..reporting.series import Series
from .outcome import Outcome, lone_picture_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = (
    ("loss", "train", Axis("loss")),
    ("z_std", "train", Axis("z_std·√d (dotted: collapsed)", 0, 1.1)),
    ("knn", "knn", Axis("kNN, % (dotted: before training)")),
)
_DOTTED: dict[str, Any] = {"linestyle": ":", "color": "#555555", "linewidth": 1.2}
_START = "random initialisation"
_WIDTH, _HEIGHT, _LEGEND_ROW = 13.2, 3.9, 0.25
_LEGEND_COLUMNS = 4
_FEW = 8  # points


def draw_table(title: str, outcomes: Sequence[Outcome]) -> bytes:
    """A PNG: one colour a row, a thin line for each seed and a thick one for their mean.

    Args:
        title: of the whole.
        outcomes: of its rows.
    """
    from matplotlib.lines import Line2D

    shown = [outcome for outcome in outcomes if outcome.runs]
    lines = max(-(-len(shown) // _LEGEND_COLUMNS), 1)
    columns = max(-(-len(shown) // lines), 1)
    size = (_WIDTH, _HEIGHT + _LEGEND_ROW * lines)
    figure = new_figure(size)
    hues = choose_hues(len(shown))
    for (name, kind, axis), axes in zip(_PANELS, figure.subplots(1, 3), strict=True):
        for outcome, hue in zip(shown, hues, strict=True):
            _draw(axes, [_trained(run.series(name, kind=kind)) for run in outcome.runs], hue)
        if name == "knn":
            _draw_floor(axes, outcomes)
        if name == "z_std":
            for size in {run.config.train.batch_size for outcome in shown for run in outcome.runs}:
                axes.axhline(lone_picture_std(size), **_DOTTED)
        _finish(axes, axis)
    handles = [Line2D([], [], color=hue, linewidth=2.5) for hue in hues]
    names = [plain(_name(outcome)) for outcome in shown]
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(plain(title), fontsize=13)
    return to_png(figure)


def _name(outcome: Outcome) -> str:
    state = outcome.tell_states()
    return outcome.row.what if state == "trained" else f"{outcome.row.what} ({state})"


def _draw(axes: "Axes", all_of: Sequence[Series], hue: Any) -> None:
    all_of = [series for series in all_of if series.values]
    if not all_of:
        return
    for series in all_of if len(all_of) > 1 else ():
        axes.plot(*smooth(series), color=hue, linewidth=0.8, alpha=0.45)
    mean = smooth(_mean(all_of))
    marker = "o" if len(mean.places) <= _FEW else None  # of one point there is no line
    axes.plot(*mean, color=hue, linewidth=2.0, marker=marker, markersize=4)


def _trained(series: Series) -> Series:
    """Without what was measured before the first step."""
    points = [point for point in zip(*series, strict=True) if point[0] > 0]
    return Series([place for place, _ in points], [value for _, value in points])


def _draw_floor(axes: "Axes", outcomes: Sequence[Outcome]) -> None:
    """kNN of the network as it is before training, where a run has measured it."""
    for run in (run for outcome in outcomes for run in outcome.runs):
        if _START in run.floors:
            axes.axhline(run.floors[_START], **_DOTTED)
            return


def _mean(all_of: Sequence[Series]) -> Series:
    """Over the seeds, at the places that all of them have come to."""
    found = [dict(zip(series.places, series.values, strict=True)) for series in all_of]
    places = [place for place in found[0] if all(place in values for values in found)]
    return Series(places, [statistics.fmean(v[place] for v in found) for place in places])


def _finish(axes: "Axes", axis: Axis) -> None:
    axes.set_title(axis.title, fontsize=10.5, loc="left")
    axes.set_xlabel("epoch", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=axis.low, top=axis.high)
    axes.set_xlim(left=0)
