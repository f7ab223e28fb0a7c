"""The second part of report.png: queries beside their nearest neighbours."""

from typing import TYPE_CHECKING, Any

from .neighbours import Neighbours, Row, Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 2
_ROW_HEIGHT = 1.25  # inches
_HEAD_HEIGHT = 0.75
_GAP = 0.14  # of a tile's side
_APART = 0.3  # between the query and its neighbours
_TEXT = 0.26  # below a tile
_RIGHT, _WRONG = "#009E73", "#B0B0B0"
_LONGEST = 15  # letters of a class name below a tile


def block_height(neighbours: Neighbours) -> float:
    """Inches of one run's part."""
    lines = -(-len(neighbours.rows) // _COLUMNS)
    return _HEAD_HEIGHT + _ROW_HEIGHT * lines


def draw_neighbours(part: Any, neighbours: Neighbours, *, name: str, colour: Any) -> None:
    """A row for each query, in two columns.

    Args:
        part: subfigure of `block_height`.
        neighbours: of one run.
        name: of the run, as it can be printed.
        colour: of the run.
    """
    lines = -(-len(neighbours.rows) // _COLUMNS)
    part.suptitle(
        f"{name}, step {neighbours.step:,}: validation pictures, each with its nearest of "
        f"{neighbours.num_bank:,} training pictures; framed in green: of the same class "
        f"({neighbours.num_right} of {neighbours.num_shown}; by chance "
        f"{neighbours.chance * neighbours.num_shown:.1f})",
        fontsize=10.5,
        color=colour,
        x=0.01,
        ha="left",
    )
    width = max(len(row.neighbours) for row in neighbours.rows) + 1
    grid = list(part.subplots(lines, _COLUMNS, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
        axes.set_aspect("equal")
        axes.set_xlim(-_GAP, width * (1 + _GAP) + _APART)
        axes.set_ylim(1 + _TEXT, -_GAP)  # downwards, as pictures are
    for axes, row in zip(grid, neighbours.rows, strict=False):
        _draw_row(axes, row)


def _draw_row(axes: "Axes", row: Row) -> None:
    _draw_tile(axes, row.query, left=0.0, frame="black", text=row.query.class_name, bold=True)
    for number, (shown, similarity, is_right) in enumerate(row.neighbours, 1):
        _draw_tile(
            axes,
            shown,
            left=number * (1 + _GAP) + _APART,
            frame=_RIGHT if is_right else _WRONG,
            text=f"{_cut(shown.class_name)} {similarity:.2f}",
            bold=is_right,
        )


def _draw_tile(
    axes: "Axes", shown: Shown, *, left: float, frame: str, text: str, bold: bool
) -> None:
    """The whole picture in a square, its own ratio kept."""
    from matplotlib.patches import Rectangle

    height, width = shown.pixels.shape[:2]
    longer = max(height, width)
    wide, high = width / longer, height / longer
    x, y = left + (1 - wide) / 2, (1 - high) / 2
    axes.imshow(
        shown.pixels,
        extent=(x, x + wide, y + high, y),
        interpolation="nearest" if longer < 96 else "antialiased",
        aspect="equal",
    )
    thick = 3.0 if frame == _RIGHT else 1.0
    axes.add_patch(
        Rectangle((left, 0), 1, 1, fill=False, edgecolor=frame, linewidth=thick, clip_on=False)
    )
    axes.text(
        left + 0.5,
        1.07,
        _cut(text).encode("utf-8", "replace").decode().replace("$", r"\$"),
        ha="center",
        va="top",
        fontsize=7.5,
        fontweight="bold" if bold else "normal",
        color=frame if frame == _RIGHT else "#333333",
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST + 5 else f"{text[:_LONGEST]}…"
