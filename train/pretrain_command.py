"""`swiftsiam pretrain`."""

import argparse
from pathlib import Path

from ..pipeline.arguments import Parser, user_path
from ..pipeline.errors import UserError
from ..pipeline.world import World
from .config import TrainConfig, read_config
from .device import Resolved
from .job import build_job
from .opening import open_run, settle
from .preflight import dry_run, tell_start
from .pretrain import EXIT_STOPPED, finish_run
from .recipes import list_recipes
from .report import Report
from .summary import choose_shown
from .terminal import Terminal, format_figures


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam pretrain`."""
    parser = Parser(
        prog="swiftsiam pretrain",
        description="Pre-train SimSiam, or what model.method names, on a folder of pictures.",
        epilog="Example: swiftsiam pretrain --config cifar10-cpu data.path=cifar/train "
        "data.val_path=cifar/test",
    )
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help=f"a recipe ({', '.join(list_recipes())}) or a YAML file",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        type=user_path,
        help="continue this run folder; with --config, begin it where it does not exist yet",
    )
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="with --resume: begin again at step 0; what the run has is kept under other names",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="a few steps: memory, duration and disk need; writes nothing",
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str]) -> int:
    """`swiftsiam pretrain`: 0 done, 75 stopped by a signal after saving."""
    with World.join(timeout_s=TrainConfig().timeout_s) as world:
        return _pretrain(world.everyone(lambda: parse_arguments(argv)), world)


def _pretrain(args: argparse.Namespace, world: World) -> int:
    terminal = Terminal()
    report = Report(terminal) if world.is_first else Report()
    if args.dry_run:
        return _dry_run(args, report, world)
    opened = open_run(args, report, world)
    summary = finish_run(opened, report)
    path = Path(opened.job.config.run.dir or "")
    if summary is None:
        text = f"stopped after saving; continue with: {opened.job.resume_command}"
    else:
        text = f"done: {path}  {format_figures(choose_shown(summary))}"
    if world.is_first:
        terminal.note(text)
    return EXIT_STOPPED if summary is None else 0


def _dry_run(args: argparse.Namespace, report: Report, world: World) -> int:
    config, reasons = world.once(lambda: _settle(args, world))
    job = build_job(config, world)
    tell_start(job, reasons, report)
    dry_run(job, report)
    return 0


def _settle(args: argparse.Namespace, world: World) -> Resolved:
    if not args.config:
        raise UserError(f"--config: not given; one of {', '.join(list_recipes())}, or a YAML file")
    return settle(read_config(args.config, args.overrides), world)
