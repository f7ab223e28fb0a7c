"""`swiftsiam lab`: the paper's tables, run on this machine."""

import argparse
import contextlib
import dataclasses
import errno
import json
from collections.abc import Iterator
from pathlib import Path

from ...pipeline.arguments import Parser, data_path, real, user_path, whole
from ...pipeline.errors import MachineError, UserError, one_line
from ...pipeline.files import absolute, write_atomically
from ..config import to_plain
from ..pretrain import EXIT_STOPPED
from ..terminal import format_pairs
from .begin import Asked, begin_plan, continue_plan
from .grid import build_grid
from .grid_picture import draw_grid
from .markdown import write_markdown
from .outcome import Outcome, read_outcomes, to_records
from .picture import draw_table
from .plan import PLAN, Plan
from .running import run_all
from .seats import make_seats
from .table import Table
from .tables import TABLES
from .twins import borrow_runs

PICTURE, PAGE, RESULTS = "table.png", "table.md", "results.json"


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam lab`."""
    parser = Parser(
        prog="swiftsiam lab",
        description="The SimSiam paper's ablations and comparisons as variants that run, its "
        "figures beside yours.",
        epilog="Example: swiftsiam lab run stop-gradient --data cifar --budget 15",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="the tables, and what each asks")
    listing.add_argument("table", nargs="?", metavar="TABLE", help="its variants (all tables)")
    run = commands.add_parser(
        "run",
        help="run the variants of a table, or continue them",
        description="Run the variants of a table over the same pictures, epochs and seeds, and "
        "write a table and a picture. The same command continues what was stopped.",
    )
    run.add_argument("table", metavar="TABLE", help="a name of `swiftsiam lab list`")
    _add_options(run)
    sweep = commands.add_parser(
        "sweep",
        help="run all combinations of some keys' values",
        description="Run all combinations of some keys' values, and draw them. The same command "
        "continues what was stopped.",
        epilog="Example: swiftsiam lab sweep optim.base_lr=0.06,0.12,0.24 "
        "optim.weight_decay=1e-4,5e-4 --data cifar",
    )
    sweep.add_argument(
        "keys", nargs="+", metavar="section.key=V1,V2,…", help="values to be tried, by commas"
    )
    _add_options(sweep)
    return parser.parse_args(argv)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=data_path,
        help="pictures in class folders, or a folder with train and val or test in it (the "
        "recipe's own, or generated pictures)",
    )
    parser.add_argument(
        "--val", type=data_path, help="labelled pictures for kNN (a fifth of --data)"
    )
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help="the recipe that variants are laid over (cifar10-cpu; with a GPU cifar10-r18-800ep)",
    )
    parser.add_argument(
        "--set",
        metavar="section.key=value",
        action="append",
        default=[],
        help="laid over the recipe for all variants; may be given more than once",
    )
    parser.add_argument(
        "--budget",
        type=real(0.1, 1e6),
        metavar="MINUTES",
        help="for all runs together: chooses epochs and pictures (4 for each run)",
    )
    parser.add_argument(
        "--epochs", type=whole(1, 1_000_000), help="so many, whatever time they take"
    )
    parser.add_argument(
        "--pictures", type=whole(2, 2**40), help="with --epochs: train on so many (all)"
    )
    parser.add_argument("--seeds", type=whole(1, 1000), default=1, help="runs of each variant (1)")
    parser.add_argument(
        "--jobs",
        type=whole(1, 1000),
        help="runs at a time, each on cores of its own and, with GPUs, on one of them (one a GPU, "
        "or 1)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=user_path,
        help="where all is kept (results/lab/TABLE; of a sweep results/lab/sweep, so that a second "
        "one needs another)",
    )


def main(argv: list[str]) -> int:
    """0 done, 75 stopped by a signal after saving."""
    args = parse_arguments(argv)
    if args.command == "list":
        print(_list(args.table))
        return 0
    name, table = _choose(args)
    out: Path = args.out or absolute("results/lab") / name
    asked = Asked(
        data=args.data,
        val=args.val,
        config=args.config,
        overrides=tuple(args.set),
        budget_s=None if args.budget is None else 60 * args.budget,
        epochs=args.epochs,
        pictures=args.pictures,
        seeds=args.seeds,
        jobs=args.jobs,
    )
    if (out / PLAN).exists():
        plan = continue_plan(out, name, table, asked, tell=_tell)
    else:
        plan = begin_plan(out, name, table, asked, tell=_tell)
    _tell_plan(plan, out)
    seats = make_seats(args.jobs, plan.config.train.device)
    with _writing(out):
        for text in borrow_runs(plan, out):
            _tell(text)
        is_done = run_all(plan, out, seats=seats, tell=_tell, after_each=lambda: _write(plan, out))
        _write(plan, out)
    if not is_done:
        _tell(f"stopped after saving; the same command goes on, by --out {out}")
        return EXIT_STOPPED
    print((out / PAGE).read_text(), end="")
    return 0


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Tell in one line what could not be written, such as to a disk that is full."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # a limit that is told by itself
            raise
        raise MachineError(
            f"--out={out}: could not be written to ({error.strerror or error}); what was saved "
            "before is kept: make room, then the same command goes on"
        ) from error


def _choose(args: argparse.Namespace) -> tuple[str, Table]:
    if args.command == "sweep":
        return "sweep", build_grid(args.keys)
    return args.table, find_table(args.table)


def find_table(name: str) -> Table:
    """By its name.

    Raises:
        UserError: there is none; tells the nearest.
    """
    if name not in TABLES:
        import difflib

        nearest = difflib.get_close_matches(name, TABLES, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(TABLES)}"
        raise UserError(f"TABLE={name}: there is none of this name; {hint}")
    return TABLES[name]


def _list(name: str | None) -> str:
    if name is None:
        return format_pairs(
            {key: f"{table.title} ({table.source})" for key, table in TABLES.items()}
        )
    table = find_table(name)
    rows = {}
    for row in table.rows:
        published = "" if row.published is None else f"; the paper: {row.published}"
        rows[row.name] = f"{row.what}{published}  {' '.join(row.overrides)}".rstrip()
    note = f"\n\n{table.note}" if table.note else ""
    if any("{" in text for row in table.rows for text in row.overrides):
        note += "\n\nWhat stands in braces is a number of the recipe, or a part of it."
    return f"{table.title}\n{table.source}\n\n{format_pairs(rows)}{note}"


def _tell(text: str) -> None:
    print(one_line(text), flush=True)


def _tell_plan(plan: Plan, out: Path) -> None:
    count = len(plan.rows) * plan.seeds
    _tell(
        f"{plan.name}: {len(plan.rows)} variants, {plan.seeds} seed{'s' * (plan.seeds > 1)}, "
        f"{count} runs of "
        f"{plan.epochs} epochs of {plan.num_pictures:,} pictures; in {out}"
    )
    for reason in plan.left_out:
        _tell(f"left out: {reason}")


def _draw(plan: Plan, outcomes: list[Outcome]) -> bytes:
    table = plan.table
    if 1 <= len(table.grid) <= 2 and len(outcomes) == len(table.rows):
        return draw_grid(table.title, table.grid, outcomes)
    return draw_table(table.title, outcomes)


def _write(plan: Plan, out: Path) -> None:
    """The page, the picture and the figures, of what there is."""
    outcomes = read_outcomes(plan, out)
    write_atomically(out / PICTURE, _draw(plan, outcomes))
    write_atomically(out / PAGE, write_markdown(plan, outcomes, picture=PICTURE).encode())
    records = {
        "table": plan.name,
        "epochs": plan.epochs,
        "pictures": plan.num_pictures,
        "data": dataclasses.asdict(plan.data),
        "version": plan.version,
        "options": plan.options,
        "config": to_plain(plan.config),
        "runs": to_records(outcomes),
    }
    write_atomically(out / RESULTS, json.dumps(records, indent=1).encode() + b"\n")
