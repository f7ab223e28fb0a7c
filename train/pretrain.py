"""Pre-train SimSiam: the main path, from a configuration to a run folder."""

import argparse
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch

from ..pipeline.arguments import Parser, user_path
from ..pipeline.errors import MachineError, UserError
from .checkpoint import list_checkpoints, save_checkpoint
from .config import list_recipes, read_config
from .curves import draw_curves
from .device import resolve
from .evaluation.encoder import RawPixels
from .evaluation.monitor import evaluate_knn
from .job import Job, build_job, open_val_data
from .opening import OpenedRun, open_run
from .optim import set_learning_rate
from .preflight import dry_run, print_start
from .progress import Status, TrainingProgress, format_seconds
from .resume import load_progress, tell_divergence, tell_resume
from .run import RunFolder
from .signals import StoppedWaitingError, StopRequest
from .step import DivergedError
from .stopwatch import Stopwatch
from .summary import build_summary

EXIT_STOPPED = 75
_SHOWN = ("loss", "knn", "z_std", "images_per_s", "data_wait_percent")


def train(job: Job, run: RunFolder) -> bool:
    """Train to the end, or to a signal. True: to the end."""
    config = job.config
    stopwatch = Stopwatch(batch_size=config.train.batch_size)
    last_saved = time.monotonic()
    with (
        StopRequest() as stop,
        TrainingProgress(
            start=job.step, steps=job.total_steps, every_s=config.train.log_every_s
        ) as progress,
        _saved_in_the_end(job, run),
    ):
        for epoch in range(job.scheduled_step // job.rate.steps_per_epoch, config.train.epochs):
            job.loader.set_epoch(epoch)
            for batch in stopwatch.waiting_for(job.loader, within=stop.waiting):
                lr = set_learning_rate(job.optimizer, job.rate, step=job.scheduled_step)
                job.train_step(*batch.views)
                job.step += 1
                job.place = job.loader.state()
                progress.tick(job.step)
                epoch_ends = job.scheduled_step % job.rate.steps_per_epoch == 0
                if job.step % config.train.log_every == 0 or epoch_ends:
                    progress.update(_log(job, run, stopwatch, epoch=epoch, lr=lr))
                due = time.monotonic() - last_saved > config.run.checkpoint_every_s
                if (due or stop.asked) and not epoch_ends:
                    _save(job, run)
                    last_saved = time.monotonic()
                    if stop.asked:
                        return False
            job.place = job.loader.state()
            with stopwatch.paused():
                _evaluate_if_due(job, run, progress, epoch=epoch)
                _save(job, run)
            last_saved = time.monotonic()
            if stop.asked and job.step < job.total_steps:
                return False
    return job.step == job.total_steps


@contextlib.contextmanager
def _saved_in_the_end(job: Job, run: RunFolder) -> Iterator[None]:
    """Save the steps taken when the data or the machine fail, or a stop ends a wait for data."""
    begun_at = job.step
    try:
        yield
    except StoppedWaitingError:
        _save(job, run)
    except (UserError, MachineError):
        if job.step > begun_at:
            with contextlib.suppress(MachineError):  # the error that is under way says more
                _save(job, run)
        raise


def _log(job: Job, run: RunFolder, stopwatch: Stopwatch, *, epoch: int, lr: float) -> Status:
    """Write one record to metrics.jsonl."""
    figures, pace = job.train_step.take_figures(), stopwatch.take_pace()
    record = {
        "type": "train",
        "step": job.step,
        "epoch": epoch,
        "epoch_progress": round(job.scheduled_step / job.rate.steps_per_epoch, 4),
        "loss": figures.loss,
        "z_std": figures.z_std,
        "lr": lr,
        **pace._asdict(),
    }
    run.log(record)
    return Status(
        epoch=epoch,
        epochs=job.config.train.epochs,
        step=job.step,
        steps=job.total_steps,
        lr=lr,
        **figures._asdict(),
        **pace._asdict(),
    )


def _evaluate_if_due(job: Job, run: RunFolder, progress: TrainingProgress, *, epoch: int) -> None:
    """kNN every so many epochs and at the end, where all validation pictures count."""
    config = job.config
    done = epoch + 1
    is_last = done == config.train.epochs
    if config.data.val_path is None or not (
        is_last or (config.eval.every and done % config.eval.every == 0)
    ):
        return
    if is_last:
        job.loader.close()  # its workers are done; the cores are the evaluation's
    knn = _knn(job, job.model.backbone, max_queries=None if is_last else config.eval.max_queries)
    run.log({"type": "knn", "step": job.step, "epoch_progress": done, "knn": knn})
    progress.note(f"epoch {done}/{config.train.epochs}  kNN {knn:.2f} %")


def _knn(job: Job, network: torch.nn.Module, *, max_queries: int | None) -> float:
    data = open_val_data(job.config, job.source, max_queries=max_queries)
    try:
        return evaluate_knn(network, data, job.config)
    finally:
        data.close()


def measure_floors(job: Job, run: RunFolder) -> None:
    """kNN before any training, of raw pixels and of the network at random initialisation."""
    begun = time.monotonic()
    pixels = RawPixels().to(job.config.train.device)
    raw = _knn(job, pixels, max_queries=None)
    random = _knn(job, job.model.backbone, max_queries=None)
    run.log({"type": "floor", "step": 0, "network": "raw pixels", "knn": raw})
    run.log({"type": "knn", "step": 0, "epoch_progress": 0, "knn": random})
    print(
        f"kNN before training ({format_seconds(time.monotonic() - begun)}): raw pixels "
        f"{raw:.2f} %, random initialisation {random:.2f} %",
        flush=True,
    )


def _save(job: Job, run: RunFolder) -> None:
    job.train_step.check()
    keep = job.config.run.keep_checkpoints
    with run.writing(f"the checkpoint of step {job.step}"):
        save_checkpoint(run.checkpoints, job.state(), step=job.step, keep=keep)


def pretrain(job: Job, run: RunFolder, *, changes: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Continue the run from its newest checkpoint, or begin it, and finish it.

    Args:
        job: at step 0.
        run: its folder.
        changes: of its configuration, that are to be told and kept.

    Returns:
        The summary, as in summary.json; None when a signal stopped the run.

    Raises:
        UserError: nothing can be continued, or training has diverged.
    """
    resumed, change = load_progress(job, run)
    run.forget_metrics_after(job.step if resumed else -1)
    for text in (*changes, *change):
        print(text, flush=True)
        run.log({"type": "change", "step": job.step, "text": text})
    if change:
        _save(job, run)  # or a resume after a kill would ask again
    if not resumed and job.config.eval.floors and job.config.data.val_path:
        measure_floors(job, run)
    begun_at = job.step
    try:
        finished = train(job, run)
    except DivergedError as error:
        raise UserError(tell_divergence(job, run, error, begun_at=begun_at)) from None
    finally:
        job.loader.close()
    metrics = run.read_metrics()
    if any(r["type"] == "train" for r in metrics):
        with run.writing(run.curves_path.name):
            draw_curves(metrics, run.curves_path, title=run.path.name)
    if not finished:
        return None
    summary = build_summary(job, metrics)
    run.write_summary(summary)
    return summary


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


def finish_run(opened: OpenedRun) -> dict[str, Any] | None:
    """`pretrain`; what fails before its first step leaves no new run folder."""
    job, run, is_new, changes = opened
    try:
        return pretrain(job, run, changes=changes)
    except BaseException:
        if is_new and job.step == 0 and not list_checkpoints(run.checkpoints):
            run.remove()
        raise
    finally:
        run.close()


def main(argv: list[str]) -> int:
    """`swiftsiam pretrain`: 0 done, 75 stopped by a signal after saving."""
    args = parse_arguments(argv)
    if args.dry_run:
        return _dry_run(args)
    opened = open_run(args)
    summary = finish_run(opened)
    if summary is None:
        print(f"stopped after saving; continue with: {tell_resume(opened.run.path)}")
        return EXIT_STOPPED
    shown = {name: summary[name] for name in _SHOWN if summary[name] is not None}
    print(f"done: {opened.run.path}  " + "  ".join(f"{k} {v:.4g}" for k, v in shown.items()))
    return 0


def _dry_run(args: argparse.Namespace) -> int:
    if not args.config:
        raise UserError(f"--config: not given; one of {', '.join(list_recipes())}, or a YAML file")
    config, reasons = resolve(read_config(args.config, args.overrides))
    job = build_job(config)
    print_start(job, reasons)
    dry_run(job)
    return 0
