"""Pre-train SimSiam: the main path, from a configuration to a run folder."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..model.simsiam import SimSiam
from ..pipeline.augment.spec import build_train_specs
from ..pipeline.errors import UserError
from ..pipeline.loader import Loader, build_loader
from ..pipeline.sources import Source, open_source
from .checkpoint import load_newest, save_checkpoint
from .config import Config, list_recipes, read_config, replace
from .curves import draw_curves
from .device import build_autocast, resolve, view_dtype
from .evaluate import KnnData, RawPixels, choose_indices, evaluate_knn, open_knn_data
from .optim import build_learning_rate, build_optimizer, set_learning_rate
from .preflight import dry_run, print_start
from .progress import Status, TrainingProgress, format_seconds
from .run import RunFolder, create_run, read_run_config
from .schedule import LearningRate
from .signals import StopRequest
from .step import TrainStep
from .stopwatch import Stopwatch
from .summary import build_summary

EXIT_STOPPED = 75
_SHOWN = ("loss", "knn", "z_std", "images_per_s", "data_wait_percent")


@dataclass(kw_only=True)
class Job:
    """Everything that a run trains with, and the number of steps it has done."""

    config: Config
    source: Source
    loader: Loader
    model: SimSiam
    optimizer: torch.optim.Optimizer
    train_step: TrainStep
    rate: LearningRate
    step: int = 0

    @property
    def total_steps(self) -> int:
        """Of the whole run."""
        return self.rate.epochs * self.rate.steps_per_epoch

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors and plain types."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "train_step": self.train_step.state(),
            "loader": self.loader.state(),
            "backbone": self.config.model.backbone,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue behind `state`."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.train_step.load(state["train_step"])
        self.loader.load(state["loader"])


def build_job(config: Config) -> Job:
    """Model, optimiser and loader of a resolved configuration; the same seed gives the same job."""
    train = config.train
    assert train.num_threads is not None
    torch.set_num_threads(train.num_threads)
    if not config.data.path:
        raise UserError("data.path: not set; give data.path=FOLDER with your pictures")
    source = open_source(config.data.path)
    loader = build_loader(
        source=source,
        specs=build_train_specs(config.augment),
        global_batch_size=train.batch_size,
        train=True,
        seed=train.seed,
        engine=config.loader.engine,
        dtype=view_dtype(train.precision),
        device=train.device,
        num_workers=config.data.num_workers or 0,
        max_bad_samples=config.data.max_bad_samples,
        indices=choose_indices(source, limit=config.data.limit, seed=train.seed),
        num_epochs=train.epochs,
        ops=config.augment.ops,
    )
    if config.data.val_path is not None:  # a mistake in it must not wait for the first evaluation
        _open_knn_data(config, source, max_queries=None)
    torch.manual_seed(train.seed)
    model = SimSiam(config.model).to(train.device)
    if train.channels_last:
        model = model.to(memory_format=torch.channels_last)
    rate = build_learning_rate(
        config.optim,
        batch_size=train.batch_size,
        epochs=train.epochs,
        steps_per_epoch=loader.batches_per_epoch,
    )
    optimizer = build_optimizer(model, config.optim, lr=rate.peak)
    train_step = TrainStep(
        model,
        optimizer,
        autocast=build_autocast(train.precision, train.device),
        scaler=torch.amp.GradScaler(train.device, enabled=train.precision == "fp16"),
        compiled=train.compile == "on",
    )
    return Job(
        config=config,
        source=source,
        loader=loader,
        model=model,
        optimizer=optimizer,
        train_step=train_step,
        rate=rate,
    )


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
    ):
        for epoch in range(job.step // job.rate.steps_per_epoch, config.train.epochs):
            job.loader.set_epoch(epoch)
            for batch in stopwatch.waiting_for(job.loader):
                lr = set_learning_rate(job.optimizer, job.rate, step=job.step)
                job.train_step(*batch.views)
                job.step += 1
                progress.tick(job.step)
                epoch_ends = job.step % job.rate.steps_per_epoch == 0
                if job.step % config.train.log_every == 0 or epoch_ends:
                    progress.update(_log(job, run, stopwatch, epoch=epoch, lr=lr))
                due = time.monotonic() - last_saved > config.run.checkpoint_every_s
                if (due or stop.asked) and not epoch_ends:
                    _save(job, run)
                    last_saved = time.monotonic()
                    if stop.asked:
                        return False
            with stopwatch.paused():
                _evaluate_if_due(job, run, progress, epoch=epoch)
                _save(job, run)
            last_saved = time.monotonic()
            if stop.asked and job.step < job.total_steps:
                return False
    return True


def _log(job: Job, run: RunFolder, stopwatch: Stopwatch, *, epoch: int, lr: float) -> Status:
    """Write one record to metrics.jsonl."""
    figures, pace = job.train_step.take_figures(), stopwatch.take_pace()
    record = {
        "type": "train",
        "step": job.step,
        "epoch": epoch,
        "epoch_progress": round(job.step / job.rate.steps_per_epoch, 4),
        "loss": figures.loss,
        "z_std": figures.z_std,
        "lr": lr,
        **pace._asdict(),
    }
    run.log(record)
    if figures.loss != figures.loss:
        raise FloatingPointError(
            f"the loss is not a number at step {job.step}; lower optim.base_lr or use "
            "train.precision=fp32, and continue from the last checkpoint"
        )
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


def _open_knn_data(config: Config, source: Source, *, max_queries: int | None) -> KnnData:
    assert config.data.val_path is not None
    return open_knn_data(
        config,
        source,
        queries_path=config.data.val_path,
        field="data.val_path",
        max_queries=max_queries,
    )


def _knn(job: Job, network: torch.nn.Module, *, max_queries: int | None) -> float:
    data = _open_knn_data(job.config, job.source, max_queries=max_queries)
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
    save_checkpoint(
        run.checkpoints, job.state(), step=job.step, keep=job.config.run.keep_checkpoints
    )


def pretrain(job: Job, run: RunFolder) -> dict[str, Any] | None:
    """Continue the run from its newest checkpoint, or begin it, and finish it.

    Returns:
        The summary, as in summary.json; None when a signal stopped the run.
    """
    state = load_newest(run.checkpoints)
    if state is not None:
        job.load(state)
    run.forget_metrics_after(job.step if state is not None else -1)
    if state is not None:
        print(f"continues at step {job.step} of {job.total_steps}", flush=True)
    elif job.config.eval.floors and job.config.data.val_path:
        measure_floors(job, run)
    try:
        finished = train(job, run)
    finally:
        job.loader.close()
    metrics = run.read_metrics()
    if any(r["type"] == "train" for r in metrics):
        draw_curves(metrics, run.curves_path, title=run.path.name)
    if not finished:
        return None
    summary = build_summary(job, metrics)
    run.write_summary(summary)
    return summary


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam pretrain`."""
    parser = argparse.ArgumentParser(
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
        type=Path,
        help="continue this run folder; with --config, begin it where it does not exist yet",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="one step: memory, duration and disk need; writes nothing",
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    return parser.parse_intermixed_args(argv)


def open_run(args: argparse.Namespace) -> tuple[Job, RunFolder]:
    """The run that the arguments ask for, new or continued. Bad input leaves no run folder."""
    if args.resume and (args.resume.exists() or not args.config):
        job = build_job(read_run_config(args.resume, args.overrides))
        print(f"run folder: {args.resume}", flush=True)
        return job, RunFolder(args.resume)
    config = _read(args)
    if args.resume:
        config = replace(config, run={"dir": str(args.resume)})
    return begin_run(config, name=Path(args.config).stem)


def begin_run(config: Config, *, name: str) -> tuple[Job, RunFolder]:
    """A new run of this configuration, and its folder."""
    config, reasons = resolve(config)
    job = build_job(config)
    print_start(job, reasons)
    run, job.config = create_run(config, name=name)
    print(f"run folder: {run.path}", flush=True)
    return job, run


def _read(args: argparse.Namespace) -> Config:
    if not args.config:
        raise UserError(f"--config: not given; one of {', '.join(list_recipes())}, or a YAML file")
    return read_config(args.config, args.overrides)


def main(argv: list[str]) -> int:
    """`swiftsiam pretrain`: 0 done, 75 stopped by a signal after saving."""
    args = parse_arguments(argv)
    if args.dry_run:
        config, reasons = resolve(_read(args))
        job = build_job(config)
        print_start(job, reasons)
        dry_run(job)
        return 0
    job, run = open_run(args)
    summary = pretrain(job, run)
    run.close()
    if summary is None:
        print(f"stopped after saving; continue with: swiftsiam pretrain --resume {run.path}")
        return EXIT_STOPPED
    shown = {name: summary[name] for name in _SHOWN if summary[name] is not None}
    print(f"done: {run.path}  " + "  ".join(f"{k} {v:.4g}" for k, v in shown.items()))
    return 0
