"""The kNN of a run while it trains."""

import time

import torch

from .evaluation.encoder import RawPixels
from .evaluation.monitor import evaluate_knn
from .job import Job, open_val_data
from .report import Report
from .terminal import format_seconds


def evaluate_if_due(job: Job, report: Report, *, epoch: int) -> float | None:
    """kNN every so many epochs and at the end, where all validation pictures count."""
    config = job.config
    done = epoch + 1
    is_last = done == config.train.epochs
    if config.data.val_path is None or not (
        is_last or (config.eval.every and done % config.eval.every == 0)
    ):
        return None
    if is_last:
        job.loader.close()  # its workers are done; the cores are the evaluation's
    knn = _knn(job, job.model.backbone, max_queries=None if is_last else config.eval.max_queries)
    report.log("knn", job.step, epoch_progress=done, knn=knn)
    report.note(f"epoch {done}/{config.train.epochs}  kNN {knn:.2f} %")
    return knn


def _knn(job: Job, network: torch.nn.Module, *, max_queries: int | None) -> float:
    data = open_val_data(job.config, job.source, max_queries=max_queries, world=job.world)
    try:
        return evaluate_knn(network, data, job.config, job.world)
    finally:
        data.close()


def measure_floors(job: Job, report: Report) -> None:
    """kNN before any training, of raw pixels and of the network at random initialisation."""
    begun = time.monotonic()
    pixels = RawPixels().to(job.config.train.device)
    raw = _knn(job, pixels, max_queries=None)
    random = _knn(job, job.model.backbone, max_queries=None)
    report.log("floor", 0, network="raw pixels", knn=raw)
    report.log("knn", 0, epoch_progress=0, knn=random)
    report.note(
        f"kNN before training ({format_seconds(time.monotonic() - begun)}): raw pixels "
        f"{raw:.2f} %, random initialisation {random:.2f} %"
    )
