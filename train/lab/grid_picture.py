"""The picture of a sweep over one or two keys: what each combination has reached."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..canvas import new_figure
from ..reporting.picture import plain, to_png
from .outcome import Outcome
from .table import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = (("knn", "kNN, %", ".1f"), ("z_std", "z_std·√d", ".2f"), ("loss", "loss", ".3f"))
_LARGE, _SMALL = 9, 7
_CELL_WIDTH, _CELL_HEIGHT, _FRAME = 0.95, 0.5, 1.7


def draw_grid(title: str, grid: Grid, outcomes: Sequence[Outcome]) -> bytes:
    """A PNG: a panel for each figure, a cell for each combination, the mean over its seeds in it.

    Args:
        title: of the whole.
        grid: the keys, the last of which goes from left to right.
        outcomes: in the order of the rows, the last key's values next to each other.
    """

    (_, columns), rows = grid[-1], grid[0][1] if len(grid) == 2 else ("",)
    size = (
        len(_PANELS) * (_FRAME + _CELL_WIDTH * len(columns)),
        _FRAME + _CELL_HEIGHT * len(rows),
    )
    figure = new_figure(size)
    for (name, heading, form), axes in zip(
        _PANELS, figure.subplots(1, len(_PANELS), squeeze=False)[0], strict=True
    ):
        cells = [_read(outcome, name, form) for outcome in outcomes]
        table = [
            cells[number * len(columns) : (number + 1) * len(columns)]
            for number in range(len(rows))
        ]
        _draw(axes, table)
        axes.set_title(heading, fontsize=10.5, loc="left")
        axes.set_xticks(range(len(columns)), map(plain, columns), fontsize=9)
        axes.set_xlabel(plain(grid[-1][0]), fontsize=9)
        axes.set_yticks(range(len(rows)), map(plain, rows), fontsize=9)
        if len(grid) == 2:
            axes.set_ylabel(plain(grid[0][0]), fontsize=9)
    figure.suptitle(plain(title), fontsize=12)
    return to_png(figure)


class _Cell(NamedTuple):
    value: float
    """NaN: there is none."""
    text: str


def _read(outcome: Outcome, name: str, form: str) -> _Cell:
    spread, state = outcome.spread(name), outcome.tell_states()
    lines = [
        *([format(spread.mean, form)] if spread else []),
        *([state] if state != "trained" else []),
    ]
    return _Cell(spread.mean if spread else math.nan, "\n".join(lines) or "–")


def _draw(axes: "Axes", table: list[list[_Cell]]) -> None:
    from matplotlib import colormaps

    colours: Any = colormaps["cividis"].with_extremes(bad="#dddddd")
    axes.imshow([[cell.value for cell in cells] for cells in table], cmap=colours, aspect="auto")
    known = [cell.value for cells in table for cell in cells if not math.isnan(cell.value)]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    for number, cells in enumerate(table):
        for place, (value, text) in enumerate(cells):
            on_light = math.isnan(value) or value > middle
            colour = "black" if on_light else "white"
            size = _SMALL if text.strip("-.0123456789") else _LARGE
            axes.text(place, number, text, ha="center", va="center", fontsize=size, color=colour)
