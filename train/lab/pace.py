"""How fast this machine trains, for a table to be planned by."""

import itertools
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import torch

from ...pipeline.contract import Batch
from ...pipeline.loader import Loader
from ..config import Config, replace
from ..device import resolve
from ..job import build_job

_WARM_UP_STEPS = 3
_MIN_STEPS = 5
_ENOUGH_S = 5.0


def measure_apart(config: Config) -> float:
    """`measure_pace` in a process of its own, whose memory is free again for the runs."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure_pace, config).result()


def measure_pace(config: Config) -> float:
    """Images/s of the recipe, end-to-end, over some seconds; nothing is written.

    Without compiling, which pays in longer runs alone.

    Args:
        config: with its data.

    Raises:
        UserError: it cannot be trained.
    """
    quiet = replace(config, data={"val_path": None}, train={"epochs": 1_000_000, "compile": "off"})
    job = build_job(resolve(quiet).config)
    with job.loader:
        batches = _endless(job.loader)
        for batch in itertools.islice(batches, _WARM_UP_STEPS):
            job.train_step(batch.views, job.marks(batch))
        _wait(config)
        begun, count = time.perf_counter(), 0
        for count, batch in enumerate(batches, start=1):
            job.train_step(batch.views, job.marks(batch))
            if count >= _MIN_STEPS and time.perf_counter() - begun > _ENOUGH_S:
                _wait(config)
                break
        elapsed = time.perf_counter() - begun
    return count * config.train.batch_size / elapsed


def _wait(config: Config) -> None:
    """For the device; not for figures, which may be lost at a rate that is not warmed up."""
    if config.train.device == "cuda":
        torch.cuda.synchronize()


def _endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader
