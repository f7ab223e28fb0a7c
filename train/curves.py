"""curves.png: the method's figures, kNN and pace over the epochs of a run."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model.method import Axis
from ..pipeline.files import write_atomically
from .canvas import new_figure
from .metrics import figure_names

_COLUMNS = 3


def draw_curves(
    metrics: list[dict[str, Any]], path: Path, *, title: str, axes: Mapping[str, Axis]
) -> None:
    """Draw the records of metrics.jsonl into one PNG.

    Args:
        metrics: of the run; those of training hold a figure each, or not.
        path: of the PNG.
        title: of the whole.
        axes: of figures that should be drawn under more than their name.
    """
    steps = [r for r in metrics if r["type"] == "train"]
    names = figure_names(steps)
    rows = -(-(len(names) + 2) // _COLUMNS)
    figure = new_figure((4.4 * _COLUMNS, 3.2 * rows))
    panels = iter(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for name in names:
        axis = axes.get(name, Axis(name))
        panel = next(panels)
        _line(panel, [r for r in steps if name in r], name, axis.title)
        panel.set_ylim(bottom=axis.low, top=axis.high)
    _draw_knn(next(panels), metrics)
    panel = next(panels)
    _line(panel, steps, "images_per_s", "images/s, end-to-end")
    panel.set_ylim(bottom=0)
    for panel in panels:
        panel.set_axis_off()
    # A file name may hold bytes that are no character, and a $ would begin a formula.
    printable = title.encode("utf-8", "replace").decode()
    figure.suptitle(printable.replace("$", r"\$"))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def _draw_knn(panel: Any, metrics: list[dict[str, Any]]) -> None:
    _line(panel, [r for r in metrics if r["type"] == "knn"], "knn", "kNN, %", "o-")
    for floor in (r for r in metrics if r["type"] == "floor"):
        panel.axhline(floor["knn"], linestyle="--", color="gray", label=floor["network"])
        panel.legend()


def _line(
    panel: Any, records: list[dict[str, Any]], name: str, title: str, style: str = "-"
) -> None:
    epochs = [record["epoch_progress"] for record in records]
    values = [record[name] for record in records]
    panel.plot(epochs, values, style if len(records) > 1 else "o", linewidth=1.5, markersize=4)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("epoch")
    panel.grid(alpha=0.3)
