"""How fast this machine trains, for a table to be planned by."""

import contextlib
import itertools
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from ...pipeline.contract import Batch
from ...pipeline.loader import Loader
from ..config import Config, replace
from ..device import resolve
from ..job import build_job
from .seats import WHOLE, Seat, seated

_WARM_UP_STEPS = 3
_MIN_STEPS = 5
_ENOUGH_S = 5.0


def measure_apart(config: Config, seats: Sequence[Seat] = (WHOLE,)) -> float:
    """`measure_pace` in processes, whose memory is free again for the runs: in all seats at a time,
    of which the slowest counts.
    """
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        measured = []
        for seat in seats:
            pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
            with seated(seat):
                measured.append(pool.submit(measure_pace, config))
        return min(each.result() for each in measured)


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
