"""`swiftsiam pretrain`."""

import argparse

from ..pipeline.arguments import Parser, user_path
from ..pipeline.errors import UserError
from .config import list_recipes, read_config
from .device import resolve
from .job import build_job
from .opening import open_run
from .preflight import dry_run, tell_start
from .pretrain import EXIT_STOPPED, finish_run
from .report import Report
from .resume import tell_resume
from .summary import choose_shown
from .terminal import Terminal, format_figures


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam pretrain`."""
    parser = Parser(
        prog="swiftsiam pretrain",
        description="Pre-train SimSiam on a folder of pictures.",
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
    args = parse_arguments(argv)
    terminal = Terminal()
    report = Report(terminal)
    if args.dry_run:
        return _dry_run(args, report)
    opened = open_run(args, report)
    summary = finish_run(opened, report)
    if summary is None:
        terminal.note(f"stopped after saving; continue with: {tell_resume(opened.run.path)}")
        return EXIT_STOPPED
    terminal.note(f"done: {opened.run.path}  {format_figures(choose_shown(summary))}")
    return 0


def _dry_run(args: argparse.Namespace, report: Report) -> int:
    if not args.config:
        raise UserError(f"--config: not given; one of {', '.join(list_recipes())}, or a YAML file")
    config, reasons = resolve(read_config(args.config, args.overrides))
    job = build_job(config)
    tell_start(job, reasons, report)
    dry_run(job, report)
    return 0
