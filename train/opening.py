"""A run, new or continued, as a command line asks for it."""

import argparse
from pathlib import Path
from typing import NamedTuple

from ..pipeline.errors import UserError
from ..pipeline.files import absolute
from ..pipeline.world import World
from .checkpoint import list_checkpoints
from .config import Config, read_config, replace
from .device import Resolved, resolve
from .job import Job, build_job
from .preflight import check_free_space, tell_left_out, tell_start
from .recipes import list_recipes
from .report import Report
from .resume import read_run_config, refuse_imported, tell_differences
from .run import CONFIG, RunFolder, TakenError, create_run, is_unbegun
from .task import Task
from .trackers import check_trackers


class OpenedRun(NamedTuple):
    """A job and where it is kept."""

    job: Job
    run: RunFolder | None
    """None: on the ranks that write nothing."""
    is_new: bool
    """Whether this process has made the folder."""
    changes: tuple[str, ...] = ()
    """Of its configuration, that the rest of the run depends on, in words."""


def open_run(args: argparse.Namespace, report: Report, world: World) -> OpenedRun:
    """The run that the arguments ask for, new or continued. Bad input leaves no run folder.

    What concerns files and configuration is the first rank's affair; all ranks call this.
    """
    path: Path | None = args.resume
    config = world.once(lambda: _read_new(args))
    if config is None:
        assert path is not None
        return continue_run(args, path, report, world)
    try:
        return begin_run(config, report, name=Path(args.config).stem, world=world)
    except TakenError:
        # By a process that started when we did, from the same line of a job queue.
        if path is None or not world.once((path / CONFIG).exists):
            raise
        return continue_run(args, path, report, world)


def _read_new(args: argparse.Namespace) -> Config | None:
    """The configuration of a run that is to begin; None: one is to be continued."""
    path: Path | None = args.resume
    if args.start_over and path is None:
        raise UserError("--start-over: goes with --resume RUN; say which run")
    if path is not None and not (args.config and (not path.exists() or is_unbegun(path))):
        return None
    if not args.config:
        raise UserError(f"--config: not given; one of {', '.join(list_recipes())}, or a YAML file")
    config = read_config(args.config, args.overrides)
    return config if path is None else replace(config, run={"dir": str(path)})


def begin_run(
    config: Config,
    report: Report,
    *,
    name: str,
    world: World | None = None,
    task: Task | None = None,
) -> OpenedRun:
    """A new run of this configuration, and its folder; of another task than pre-training too."""
    world = world or World()
    config, reasons = world.once(lambda: settle(config, world))
    world.first(lambda: _check_apart(config))
    job = build_job(config, world, task=task)
    tell_start(job, reasons, report)
    created = world.first(lambda: _create(job, name=name))
    run = created and created[0]
    _name_command(run, job)
    job.config = world.once(lambda: created[1])  # type: ignore[index]
    report.note(f"run folder: {job.config.run.dir}")
    return OpenedRun(job, run, is_new=True)


def settle(config: Config, world: World) -> Resolved:
    """A configuration as this machine can run it, by the first rank for all."""
    resolved = resolve(config, sharing=world.local_size)
    check_trackers(config.run)
    return resolved


def _create(job: Job, *, name: str) -> tuple[RunFolder, Config]:
    check_free_space(job, absolute(job.config.run.dir or "runs"), num_present=0)
    return create_run(job.config, name=name)


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


def continue_run(
    args: argparse.Namespace,
    path: Path,
    report: Report,
    world: World,
    *,
    task: Task | None = None,
) -> OpenedRun:
    """A run that exists, with what may change about it changed."""
    world.first(lambda: refuse_imported(path))
    stored, config, changes = world.once(lambda: read_run_config(path, args.overrides))
    if args.config:
        differences = world.once(lambda: tell_differences(args.config, args.overrides, stored))
        for difference in differences:
            report.note(f"the run goes on as it was begun: {difference}")
    run = world.first(lambda: RunFolder(path))
    try:
        config = world.once(lambda: settle(config, world).config)
        job = build_job(config, world, task=task)
        _name_command(run, job)
        world.first(lambda: _take_up(job, run, stored, starts_over=args.start_over))  # type: ignore[arg-type]
        tell_left_out(job, report)
        report.note(f"run folder: {path}")
        return OpenedRun(job, run, is_new=False, changes=changes)
    except BaseException:
        if run:
            run.close()
        raise


def _name_command(run: RunFolder | None, job: Job) -> None:
    if run is not None:
        run.again = job.resume_command


def _take_up(job: Job, run: RunFolder, stored: Config, *, starts_over: bool) -> None:
    """Make sure of room, and keep what has changed in its configuration."""
    present = len(list_checkpoints(run.checkpoints))
    check_free_space(job, run.path, num_present=0 if starts_over else present)
    if starts_over:
        run.start_over()
    if job.config != stored:
        # Going on over other pictures is for this once.
        run.write_config(replace(job.config, data={"on_change": stored.data.on_change}))
