"""What all pictures of results have in common: paper, colours, and how they become a PNG."""

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pipeline.files import write_atomically
from ..train.canvas import new_figure
from .results import Record
from .words import tell_machine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 9.0
"""Inches: 100 px each as README shows it, where the default 10 points are read with ease."""
_LONGEST = 90  # letters of a title's line
_DPI = 150  # sharp on a screen that shows more
OURS, OTHERS, GAIN, LOSS, LIMIT = "#0072B2", "#999999", "#009E73", "#D55E00", "#D55E00"
"""Okabe and Ito's colours: told apart by all."""
COLOURS = ("#0072B2", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#999999", "#F0E442", "#D55E00")
"""For what has no meaning of its own."""


def open_figure(title: str, records: list[Record], *, height: float, more: str = "") -> "Figure":
    """An empty picture with a title that says what, of which machine, and how many rounds.

    Args:
        title: what is shown.
        records: what it is of, with rates.
        height: inches.
        more: about how it was measured.
    """

    figure = new_figure((WIDTH, height))
    counts = sorted({record["images_per_s"]["n"] for record in records})
    rounds = f"n {' to '.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))}"
    machines = "; ".join(dict.fromkeys(tell_machine(record) for record in records))
    measured = ", ".join(text for text in (more, f"{rounds} rounds") if text)
    facts = [f"{machines}, {measured}"]
    if len(facts[0]) > _LONGEST:
        facts = [*textwrap.wrap(machines, _LONGEST), measured]
    lines = "\n".join([title, *facts]).replace("$", r"\$")  # which would begin a formula
    figure.suptitle(lines, fontsize=11, x=0.01, ha="left")
    return figure


def tell_sizes(record: Record) -> str:
    """Views and batch."""
    told = [f"{record['size']} px"] if "size" in record else []
    return ", ".join([*told, f"batch {record['batch_size']}"])


def half_iqr(figure: dict[str, Any]) -> float:
    """What error bars show on each side."""
    return figure["iqr"] / 2


def bare(panel: Any, *, grid: str) -> None:
    """Without a frame; lines of a grid behind what is drawn."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_axisbelow(True)
    panel.grid(axis=grid, alpha=0.3)


def save(figure: "Figure", path: Path) -> None:
    """As a PNG.

    Raises:
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    write_atomically(path, buffer.getvalue())
