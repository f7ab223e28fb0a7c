"""Before a run: what it will do and why, and what it will cost."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipeline.contract import Batch
from ..pipeline.errors import UserError
from .device import Choice
from .report import Report
from .terminal import format_pairs, format_seconds
from .usage import Usage, peak_memory

if TYPE_CHECKING:
    from .job import Job

_WARM_UP_STEPS, _TIMED_STEPS = 5, 10
_OTHER_FILES = 2_000_000  # bytes: metrics, curves, configuration


def tell_start(job: "Job", reasons: dict[str, Choice], report: Report) -> None:
    """What was decided, and why."""
    config, loader = job.config, job.loader
    parameters = sum(p.numel() for p in job.model.parameters())
    classes = f"{len(job.source.classes)} classes" if job.source.classes else "no labels"
    name = type(job.model).__name__
    flops = Usage.of(job).flops
    size = f"{parameters / 1e6:.1f} M parameters"
    if flops is not None:
        size += f", {flops / 1e9:,.1f} GFLOP an image"
    told = {**reasons, **job.decided}
    lines = {
        "data": f"{config.data.path}: {len(job.source):,} pictures, {classes}",
        **{name: f"{choice.name} ({choice.why})" for name, choice in told.items()},
        "threads": f"{config.train.num_threads}, and {config.data.num_workers} loader workers",
        "model": f"{name}, {config.model.backbone}, {size}",
        "batch": f"{config.train.batch_size} pictures, {loader.batches_per_epoch} steps an "
        f"epoch, {config.train.epochs} epochs",
        "learning rate": f"{job.rate.peak:g} ({config.optim.base_lr:g} x batch / 256), "
        f"{job.rate.warmup_epochs} epochs of warm-up{_describe_constant(job)}",
    }
    report.note(format_pairs(lines))
    tell_left_out(job, report)


def _describe_constant(job: "Job") -> str:
    if all(group.decays for group in job.model.parameter_groups()):
        return ""
    return f", predictor {job.config.optim.predictor_lr}"


def tell_left_out(job: "Job", report: Report) -> None:
    """What lies in the data folder and is not trained on."""
    for reason, count in job.source.left_out:
        report.note(f"  left out: {count:,} {reason}")


def check_free_space(job: "Job", path: Path, *, num_present: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        job: to be saved.
        path: of the run folder, or of any below which it will be made.
        num_present: checkpoints that lie there already.

    Raises:
        UserError: not enough space.
    """
    # One more than are kept, for a while.
    config = job.config
    has_best = config.run.keep_best and config.data.val_path is not None
    num_needed = max(config.run.keep_checkpoints + 1 + has_best - num_present, 1)
    needed = num_needed * checkpoint_bytes(job) + _OTHER_FILES
    existing = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"run.dir={path}: needs {needed / 1e6:.0f} MB for checkpoints, {free / 1e6:.0f} MB are "
            "free; make room or choose another run.dir"
        )


def checkpoint_bytes(job: "Job") -> int:
    """Of one checkpoint: weights, statistics and momentum."""
    weights = sum(t.numel() * t.element_size() for t in job.model.state_dict().values())
    momentum = sum(p.numel() * p.element_size() for p in job.model.parameters() if p.requires_grad)
    return weights + momentum


def dry_run(job: "Job", report: Report) -> None:
    """Take a few real steps, say what the run needs, and leave nothing behind."""
    with job.loader:
        batch = next(iter(job.loader))
        step_s = _time_step(job, batch)
    disk = checkpoint_bytes(job) * (job.config.run.keep_checkpoints + 1)
    lines = {
        "step": f"{1000 * step_s:.0f} ms, {job.config.train.batch_size / step_s:,.0f} images/s "
        "(step scope: without the loader)",
        "whole run": f"{format_seconds(step_s * job.total_steps)} for {job.total_steps} "
        "steps, if the loader keeps up, without evaluation",
        "memory": _peak_memory(job.config.train.device),
        "disk": f"{disk / 1e6:.0f} MB for checkpoints",
    }
    report.note(format_pairs(lines))


def _time_step(job: "Job", batch: Batch) -> float:
    """Seconds of a step on one batch that lies on the device.

    On a GPU the first ones compile and choose algorithms, and those that are timed follow each
    other without a wait, as in training. On a CPU each may take minutes, and all are alike.
    """
    is_cuda = job.config.train.device == "cuda"
    for _ in range(_WARM_UP_STEPS if is_cuda else 1):
        job.train_step(batch.views, job.marks(batch))
    job.train_step.take_figures()  # waits for the device
    count = _TIMED_STEPS if is_cuda else 2
    begun = time.perf_counter()
    for _ in range(count):
        job.train_step(batch.views, job.marks(batch))
    job.train_step.take_figures()
    return (time.perf_counter() - begun) / count


def _peak_memory(device: str) -> str:
    text = f"{peak_memory(is_cuda=False) / 1e9:.1f} GB of host memory at peak"
    if device == "cuda":
        text += f", {peak_memory(is_cuda=True) / 1e9:.1f} GB on the device"
    return text
