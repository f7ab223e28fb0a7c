"""An empty picture: what all that draw with matplotlib have in common."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(size: tuple[float, float]) -> "Figure":
    """White, without a display.

    Args:
        size: width and height, inches.
    """
    # Where no home can be written to it takes a temporary folder, and need not say so.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # The object interface: no global state, and no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
