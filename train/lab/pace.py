"""How fast this machine trains, for a table to be planned by."""

import itertools
import time
from collections.abc import Iterator

from ...pipeline.contract import Batch
from ...pipeline.loader import Loader
from ..config import Config, replace
from ..device import resolve
from ..job import build_job

_WARM_UP_STEPS = 3
_MIN_STEPS = 5
_ENOUGH_S = 5.0


def measure_pace(config: Config) -> float:
    """Images/s of the recipe, end-to-end, over some seconds; nothing is written.

    Args:
        config: with its data.

    Raises:
        UserError: it cannot be trained.
    """
    quiet = replace(config, data={"val_path": None}, train={"epochs": 1_000_000})
    job = build_job(resolve(quiet).config)
    with job.loader:
        batches = _endless(job.loader)
        for batch in itertools.islice(batches, _WARM_UP_STEPS):
            job.train_step(batch.views, job.marks(batch))
        job.train_step.take_figures()  # waits for the device
        begun, count = time.perf_counter(), 0
        for count, batch in enumerate(batches, start=1):
            job.train_step(batch.views, job.marks(batch))
            if count >= _MIN_STEPS and time.perf_counter() - begun > _ENOUGH_S:
                job.train_step.take_figures()
                break
        elapsed = time.perf_counter() - begun
    return count * config.train.batch_size / elapsed


def _endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader
