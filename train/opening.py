"""A run, new or continued, as a command line asks for it."""

import argparse
from pathlib import Path
from typing import NamedTuple

from ..pipeline.errors import UserError
from ..pipeline.files import absolute
from .checkpoint import list_checkpoints
from .config import Config, list_recipes, read_config, replace
from .device import resolve
from .job import Job, build_job
from .preflight import check_free_space, tell_left_out, tell_start
from .report import Report
from .resume import read_run_config, tell_differences
from .run import CONFIG, RunFolder, TakenError, create_run, is_unbegun
from .trackers import check_trackers


class OpenedRun(NamedTuple):
    """A job and where it is kept."""

    job: Job
    run: RunFolder
    is_new: bool
    """Whether this process has made the folder."""
    changes: tuple[str, ...] = ()
    """Of its configuration, that the rest of the run depends on, in words."""


def open_run(args: argparse.Namespace, report: Report) -> OpenedRun:
    """The run that the arguments ask for, new or continued. Bad input leaves no run folder."""
    path: Path | None = args.resume
    if args.start_over and path is None:
        raise UserError("--start-over: goes with --resume RUN; say which run")
    if path is not None and not (args.config and (not path.exists() or is_unbegun(path))):
        return continue_run(args, path, report)
    if not args.config:
        raise UserError(f"--config: not given; one of {', '.join(list_recipes())}, or a YAML file")
    config = read_config(args.config, args.overrides)
    if path is not None:
        config = replace(config, run={"dir": str(path)})
    try:
        return begin_run(config, report, name=Path(args.config).stem)
    except TakenError:
        # By a process that started when we did, from the same line of a job queue.
        if path is None or not (path / CONFIG).exists():
            raise
        return continue_run(args, path, report)


def begin_run(config: Config, report: Report, *, name: str) -> OpenedRun:
    """A new run of this configuration, and its folder."""
    config, reasons = resolve(config)
    _check_apart(config)
    check_trackers(config.run)
    job = build_job(config)
    tell_start(job, reasons, report)
    check_free_space(job, absolute(config.run.dir or "runs"), num_present=0)
    run, job.config = create_run(job.config, name=name)
    report.note(f"run folder: {run.path}")
    return OpenedRun(job, run, is_new=True)


def _check_apart(config: Config) -> None:
    """The run's own pictures (curves, views) must not become data."""
    place = absolute(config.run.dir or "runs")
    for name in ("path", "val_path"):
        folder = getattr(config.data, name)
        if folder and place.is_relative_to(folder):
            raise UserError(
                f"run.dir={place}: lies within data.{name}={folder}, and its curves would "
                "become pictures of the data set; choose another run.dir"
            )


def continue_run(args: argparse.Namespace, path: Path, report: Report) -> OpenedRun:
    """A run that exists, with what may change about it changed."""
    stored, config, changes = read_run_config(path, args.overrides)
    if args.config:
        for difference in tell_differences(args.config, args.overrides, stored):
            report.note(f"the run goes on as it was begun: {difference}")
    run = RunFolder(path)
    try:
        config = resolve(config).config
        check_trackers(config.run)
        job = build_job(config)
        config = job.config
        present = len(list_checkpoints(run.checkpoints))
        check_free_space(job, path, num_present=0 if args.start_over else present)
        if args.start_over:
            run.start_over()
        tell_left_out(job, report)
        if config != stored:
            # Going on over other pictures is for this once.
            kept = {"on_change": stored.data.on_change}
            run.write_config(replace(config, data=kept))
        report.note(f"run folder: {path}")
        return OpenedRun(job, run, is_new=False, changes=changes)
    except BaseException:
        run.close()
        raise
