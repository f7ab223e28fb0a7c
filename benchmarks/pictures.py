"""`swiftsiam bench pictures [RESULTS_FOLDER]`: a machine's results as PNGs, beside their files.

What the folder does not hold is left out and named, with what would measure it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..pipeline.arguments import Parser, user_path
from ..pipeline.errors import UserError
from ..pipeline.files import check_output
from .canvas import save
from .machine import results_folder
from .pictures_loader import draw_contestants, draw_scaling, draw_stages
from .pictures_step import draw_roofline, draw_waterfall
from .results import Record, read_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIELD = "RESULTS_FOLDER"


class Picture(NamedTuple):
    """How one is made."""

    source: str
    """File of results."""
    draw: Callable[[list[Record]], "Figure | None"]
    lacks: str
    """What the file does not hold where nothing is drawn."""


PICTURES = {
    "contestants.png": Picture("loader.json", draw_contestants, "no loader that came through"),
    "scaling.png": Picture("loader.json", draw_scaling, "no scaling (bench loader --scaling)"),
    "stages.png": Picture("loader.json", draw_stages, "no stages of our engines (bench loader)"),
    "waterfall.png": Picture("step.json", draw_waterfall, "no lanes of our step (bench step)"),
    "roofline.png": Picture("step.json", draw_roofline, "no roof of the machine (bench step)"),
}
"""By file name."""


def draw_all(folder: Path) -> dict[str, "Figure | str"]:
    """Each picture, or why there is none.

    Raises:
        UserError: there is nothing that could be drawn, or it is no results file.
    """
    sources = dict.fromkeys(picture.source for picture in PICTURES.values())
    found = {
        name: read_records(folder / name, field=_FIELD)
        for name in sources
        if (folder / name).is_file()
    }
    if not found:
        raise UserError(
            f"{_FIELD}={folder}: holds neither {' nor '.join(sources)}; "
            "measure with swiftsiam bench loader and bench step, or name another folder"
        )
    drawn = {}
    for name, picture in PICTURES.items():
        if picture.source not in found:
            drawn[name] = f"there is no {picture.source}"
        else:
            figure = picture.draw(found[picture.source])
            drawn[name] = figure or f"{picture.source} holds {picture.lacks}"
    return drawn


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench pictures`."""
    parser = Parser(
        prog="swiftsiam bench pictures", description="Draw a machine's results as PNGs beside them."
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=user_path,
        metavar=_FIELD,
        help="with loader.json, step.json (benchmarks/results/<machine>)",
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Draw what can be drawn, say what was left out; 0 when done."""
    folder = parse_arguments(argv).folder or results_folder()
    for name, drawn in draw_all(folder).items():
        if isinstance(drawn, str):
            print(f"left out: {name}: {drawn}")
        else:
            save(drawn, check_output(folder / name, field=_FIELD))
            print(f"drawn: {folder / name}")
    return 0
