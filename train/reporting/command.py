"""`swiftsiam report`: what runs have reached, side by side, as a picture and a table."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...pipeline.arguments import Parser, user_path, whole
from ...pipeline.errors import MachineError, UserError, one_line
from ...pipeline.files import absolute, check_output, write_atomically
from ...pipeline.machine import num_cores
from .markdown import build_table, write_markdown
from .neighbours import Neighbours, find_neighbours
from .picture import draw_report, to_png
from .series import Run, read_runs

PICTURE, TEXT = "report.png", "report.md"
_WIDEST = 10_000  # columns, where no terminal cuts a line


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam report`."""
    parser = Parser(
        prog="swiftsiam report",
        description="Curves, figures and nearest neighbours of runs, side by side.",
        epilog="A run may be finished, going on or killed. Nothing in it is changed.",
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=user_path, help="run folders, one colour each"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=user_path,
        help=f"where {PICTURE} and {TEXT} are written; made where it is missing (RUN/report; of "
        "several runs ./report)",
    )
    parser.add_argument(
        "--over",
        choices=("epoch", "step"),
        default="epoch",
        help="what the curves go along (epoch)",
    )
    parser.add_argument(
        "--no-neighbours",
        action="store_true",
        help="leave the nearest neighbours out, and run no network",
    )
    parser.add_argument(
        "--queries", type=whole(1, 100), default=6, help="validation pictures that are shown (6)"
    )
    parser.add_argument(
        "--nearest", type=whole(1, 20), default=5, help="training pictures beside each (5)"
    )
    parser.add_argument(
        "--bank",
        type=whole(1, 1_000_000),
        default=2000,
        help="training pictures to look among, a fixed random choice (2000)",
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Write the report and print its table; 0 when done."""
    args = parse_arguments(argv)
    runs = read_runs(args.runs)
    out = args.out or (runs[0].path / "report" if len(runs) == 1 else absolute("report"))
    picture, text = _prepare(out)
    neighbours, left_out = _find_all(runs, args)
    figure = draw_report(runs, neighbours, over=args.over)
    written = write_markdown(runs, neighbours, left_out, picture=PICTURE)
    try:
        write_atomically(picture, to_png(figure))
        write_atomically(text, written.encode())
    except OSError as error:
        raise MachineError(
            f"--out={out}: could not be written ({error.strerror or error}); make room, or choose "
            "another folder"
        ) from error
    _print_table(runs)
    for run in runs:
        if not run.steps:
            print(one_line(f"{run.name}: no metrics yet"))
        if not args.no_neighbours and run.name in left_out:
            print(one_line(f"{run.name}: no neighbours: {left_out[run.name]}"))
    print(one_line(f"picture  {picture}"))
    print(one_line(f"text     {text}"))
    return 0


def _prepare(out: Path) -> tuple[Path, Path]:
    """Make sure, before the work, that both files can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out={out}: cannot be made a folder ({error.strerror}); choose another"
        ) from error
    picture, text = (check_output(out / name, field="--out") for name in (PICTURE, TEXT))
    return picture, text


def _find_all(
    runs: Sequence[Run], args: argparse.Namespace
) -> tuple[dict[str, Neighbours], dict[str, str]]:
    """Neighbours by the run's name; and why there are none, which is no reason to stop."""
    if args.no_neighbours:
        return {}, {run.name: "asked for by --no-neighbours" for run in runs}
    torch.set_num_threads(num_cores())
    neighbours, left_out = {}, {}
    for run in runs:
        try:
            neighbours[run.name] = find_neighbours(
                run, num_queries=args.queries, num_bank=args.bank, k=args.nearest
            )
        except (UserError, MachineError) as error:
            left_out[run.name] = str(error)
    return neighbours, left_out


def _print_table(runs: Sequence[Run]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDEST)
    table = Table()
    table.add_column("")
    for run in runs:
        table.add_column(Text(one_line(run.name)), justify="right")
    for line in build_table(runs):
        table.add_row(Text(line.title), *(Text(one_line(cell)) for cell in line.cells))
    console.print(table)
