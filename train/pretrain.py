"""Pre-train SimSiam: the main path, from a configuration to a run folder."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch

from ..pipeline.errors import MachineError, UserError
from .checkpoint import list_checkpoints
from .collapse import CollapsedError
from .curves import draw_curves
from .divergence import write_batch
from .job import Job
from .journal import Journal
from .keeper import Keeper
from .memory import tell_out_of_memory
from .opening import OpenedRun
from .optim import set_learning_rate
from .report import MetricsFile, Report
from .resume import load_progress, tell_collapse, tell_divergence
from .run import RunFolder
from .signals import StoppedWaitingError, StopRequest
from .step import DivergedError
from .summary import build_summary
from .trackers import add_trackers

EXIT_STOPPED = 75
_AGREE_EVERY = 10
"""Steps between two moments at which several processes agree on stopping or saving."""


def train(job: Job, keeper: Keeper, report: Report) -> bool:
    """Train to the end, or to a signal. True: to the end."""
    config, world = job.config, job.world
    journal = Journal(job, report)
    stopwatch = journal.stopwatch
    last_saved = time.monotonic()
    stop = StopRequest(is_alone=world.is_alone)
    world.advice = f", and continue with {job.resume_command}"
    with stop, _told(job, report), _saved_in_the_end(job, keeper), world.watching():
        for epoch in range(job.scheduled_step // job.rate.steps_per_epoch, config.train.epochs):
            job.loader.set_epoch(epoch)
            for batch in stopwatch.waiting_for(job.loader, within=stop.waiting):
                lr = set_learning_rate(job.optimizer, job.rate, step=job.scheduled_step)
                job.train_step(batch.views, job.marks(batch))
                job.step += 1
                job.place = job.loader.state()
                report.tick(job.step)
                keeper.check()
                epoch_ends = job.scheduled_step % job.rate.steps_per_epoch == 0
                if job.step % config.train.log_every == 0 or epoch_ends:
                    journal.log(epoch=epoch, lr=lr, epoch_ends=epoch_ends)
                if epoch_ends or not (world.is_alone or job.step % _AGREE_EVERY == 0):
                    continue
                due = time.monotonic() - last_saved > config.run.checkpoint_every_s
                is_due, is_stopped = world.agree(due, stop.asked)
                if is_due or is_stopped:
                    _save(job, keeper)
                    last_saved = time.monotonic()
                if is_stopped:
                    return False
            job.place = job.loader.state()
            with stopwatch.paused():
                worth = job.task.evaluate(job, report, epoch=epoch)
                _save(job, keeper, worth=worth)
            last_saved = time.monotonic()
            (is_stopped,) = world.agree(stop.asked)
            if is_stopped and job.step < job.total_steps:
                return False
    return job.step == job.total_steps


@contextlib.contextmanager
def _told(job: Job, report: Report) -> Iterator[None]:
    """The report has a beginning and an end."""
    train = job.config.train
    report.begin(
        step=job.step, steps=job.total_steps, epochs=train.epochs, every_s=train.log_every_s
    )
    try:
        yield
    finally:
        report.end()


@contextlib.contextmanager
def _saved_in_the_end(job: Job, keeper: Keeper) -> Iterator[None]:
    """Save the steps taken when the data or the machine fail, or a stop ends a wait for data. Of
    several processes the others are in the middle of a step then, and the last checkpoint stays.
    """
    begun_at = job.step
    try:
        yield
        keeper.wait()
    except StoppedWaitingError:
        _save(job, keeper)
        keeper.wait()
    except (UserError, MachineError):
        if job.world.is_alone and job.step > begun_at:
            with contextlib.suppress(MachineError):  # the error that is under way says more
                _save(job, keeper)
                keeper.wait()
        raise


def _save(job: Job, keeper: Keeper, *, worth: float | None = None) -> None:
    """All ranks call it, since the state is that of all of them."""
    job.train_step.check()
    keeper.save(job.state(), step=job.step, worth=worth)


def pretrain(
    job: Job, run: RunFolder | None, report: Report, *, changes: tuple[str, ...] = ()
) -> dict[str, Any] | None:
    """Continue the run from its newest checkpoint, or begin it, and finish it.

    Args:
        job: at step 0.
        run: its folder; None: on the ranks that write nothing.
        report: told all of it; gets the run's own sinks here.
        changes: of its configuration, that are to be told and kept.

    Returns:
        The summary, as in summary.json; None when a signal stopped the run.

    Raises:
        UserError: nothing can be continued, or training has diverged.
    """
    resumed, change = load_progress(job, run, report)
    if run is not None:
        run.forget_metrics_after(job.step if resumed else -1)
        report.add(MetricsFile(run))
        add_trackers(report, job.config, run, step=job.step)
    keeper = Keeper(run, job.config.run)
    for text in (*changes, *change):
        report.note(text)
        report.log("change", job.step, text=text)
    if change:
        _save(job, keeper)  # or a resume after a kill would ask again
    if not resumed:
        job.task.begin(job, report)
    begun_at = job.step
    failure, finished, is_full = None, False, False
    try:
        finished = train(job, keeper, report)
    except DivergedError as error:
        failure = tell_divergence(job, error, begun_at=begun_at)
        if run is not None:
            write_batch(job, run, step=job.step - error.num_lost + 1)
    except CollapsedError as error:
        failure = tell_collapse(job, error)
    except torch.OutOfMemoryError:
        is_full = True  # and told outside of the handler, which keeps the step's memory
    finally:
        job.loader.close()
        keeper.close()
    if failure is not None:
        raise job.world.alike(UserError(failure))
    if is_full:
        raise UserError(tell_out_of_memory(job))
    bad = [bad.key for rank in job.world.gather(job.loader.bad_samples) for bad in rank.values()]
    return job.world.once(lambda: _conclude(job, _here(run), bad=bad, finished=finished))


def _conclude(job: Job, run: RunFolder, *, bad: list[str], finished: bool) -> dict[str, Any] | None:
    """The curves, and the summary of a run that has come to its end."""
    metrics = run.read_metrics()
    if any(r["type"] == "train" for r in metrics):
        with run.writing(run.curves_path.name):
            draw_curves(metrics, run.curves_path, title=run.path.name, axes=job.model.axes)
    if not finished:
        return None
    summary = build_summary(job, metrics, bad=bad)
    run.write_summary(summary)
    return summary


def _here(run: RunFolder | None) -> RunFolder:
    assert run is not None, "the first rank has the folder"
    return run


def finish_run(opened: OpenedRun, report: Report) -> dict[str, Any] | None:
    """`pretrain`; what fails before its first step leaves no new run folder."""
    job, run, is_new, changes = opened
    code = 1
    try:
        if run:
            run.write_exit_code(None)
        summary = pretrain(job, run, report, changes=changes)
        code = EXIT_STOPPED if summary is None else 0
        return summary
    except UserError:
        code = 2
        raise
    finally:
        report.close()
        if run and code and is_new and job.step == 0 and not list_checkpoints(run.checkpoints):
            run.remove()
        elif run:
            run.write_exit_code(code)
            run.close()
