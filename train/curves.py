"""curves.png: loss, z_std, kNN and learning rate over the epochs of a run."""

from pathlib import Path
from typing import Any

from ..pipeline.files import write_atomically


def draw_curves(metrics: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """Draw the records of metrics.jsonl into one PNG."""
    import io
    import logging

    # Where no home can be written to it takes a temporary folder, and need not say so.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # The object interface: no global state, and no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [r for r in metrics if r["type"] == "train"]
    knn = [r for r in metrics if r["type"] == "knn"]
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    epochs = [r["epoch_progress"] for r in steps]
    _line(panels[0, 0], epochs, [r["loss"] for r in steps], "loss (collapsed: -1)")
    _line(panels[0, 1], epochs, [r["z_std"] for r in steps], "z_std·√d (healthy: 1, collapsed: 0)")
    panels[0, 1].set_ylim(0, 1.1)
    _line(panels[1, 0], [r["epoch_progress"] for r in knn], [r["knn"] for r in knn], "kNN, %", "o-")
    for floor in (r for r in metrics if r["type"] == "floor"):
        panels[1, 0].axhline(floor["knn"], linestyle="--", color="gray", label=floor["network"])
        panels[1, 0].legend()
    _line(panels[1, 1], epochs, [r["images_per_s"] for r in steps], "images/s, end-to-end")
    panels[1, 1].set_ylim(bottom=0)
    # A file name may hold bytes that are no character, and a $ would begin a formula.
    printable = title.encode("utf-8", "replace").decode()
    figure.suptitle(printable.replace("$", r"\$"))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def _line(panel: Any, x: list[float], y: list[float], title: str, style: str = "-") -> None:
    panel.plot(x, y, style if len(x) > 1 else "o", linewidth=1.5, markersize=4)
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("epoch")
    panel.grid(alpha=0.3)
