"""Rounds of a loader and of a step, in this process, from one settled state to the next.

Core time is that of this process and all that it has begun, from full queues to full queues,
divided by all images that were delivered between; the wall rate leaves out what lay ready.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil
import torch

from ..pipeline.contract import Batch
from ..pipeline.engines import ENGINES
from ..pipeline.loader import Loader
from ..pipeline.stages import STAGES
from .inputs import endless
from .neighbours import core_s, settle

_AHEAD = 4  # batches for each worker that may lie ready


@dataclass(frozen=True, kw_only=True)
class Round:
    """What was measured in one."""

    images_per_s: float
    core_ms: float
    """An image."""
    wait_percent: float = 0.0
    """Of the time: the step waited for a batch."""
    stages: dict[str, float] = field(default_factory=dict)
    """Workers' time, ms an image, and `rest`: core time that is in none."""


class LoaderRounds:
    """A loader that is asked for batches round by round."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.batch_size = loader.options.batch_size
        self._batches = endless(loader)
        self._ahead = _AHEAD * max(loader.options.num_workers, 1)
        self.first = next(self._batches)

    def take(self, num_batches: int) -> Round:
        """A round without a step."""
        stages = self.loader.options.stages
        before, counted = settle(psutil.Process()), stages and stages.seconds()
        self._run(self._ahead)
        begun = time.perf_counter()
        self._run(num_batches)
        seconds = time.perf_counter() - begun
        core = settle(psutil.Process()) - before
        images = (self._ahead + num_batches) * self.batch_size
        core_ms = 1000 * core / images
        spent = {}
        if stages is not None and counted is not None:
            after = stages.seconds()
            spent = {name: 1000 * (after[name] - counted[name]) / images for name in STAGES}
        return Round(
            images_per_s=num_batches * self.batch_size / seconds,
            core_ms=core_ms,
            stages=complete(spent, core_ms=core_ms, engine=self.loader.engine_name),
        )

    def feed(self, step: Callable[[Batch], object], num_batches: int) -> Round:
        """A round with a step on each batch, in the steady state that training is in."""
        settle(psutil.Process())
        self._run(self._ahead, step)
        self.loader.take_wait_s()
        core_begun, begun, waited = core_s(psutil.Process()), time.perf_counter(), 0.0
        for _ in range(num_batches):
            asked = time.perf_counter()
            batch = next(self._batches)
            waited += time.perf_counter() - asked
            step(batch)
            del batch  # held for the step, as a trainer does
        synchronize()
        seconds = time.perf_counter() - begun
        device_waited = self.loader.take_wait_s()
        images = num_batches * self.batch_size
        return Round(
            images_per_s=images / seconds,
            core_ms=1000 * (core_s(psutil.Process()) - core_begun) / images,
            wait_percent=100 * (waited if device_waited is None else device_waited) / seconds,
        )

    def _run(self, count: int, step: Callable[[Batch], object] | None = None) -> None:
        for _ in range(count):
            batch = next(self._batches)
            if step is not None:
                step(batch)
            del batch
        synchronize()


def take_steps(step: Callable[[Batch], object], batch: Batch, count: int) -> Round:
    """A round of steps on a cached batch, while all else rests."""
    settle(psutil.Process())
    core_begun, begun = core_s(psutil.Process()), time.perf_counter()
    for _ in range(count):
        step(batch)
    synchronize()
    images, seconds = count * len(batch.index), time.perf_counter() - begun
    core = core_s(psutil.Process()) - core_begun
    return Round(images_per_s=images / seconds, core_ms=1000 * core / images)


def complete(stages: dict[str, float], *, core_ms: float, engine: str) -> dict[str, float]:
    """With what was not counted, as `rest`, or as decoding where a library does that unseen."""
    if not stages:
        return {}
    rest = max(core_ms - sum(stages.values()), 0.0)
    info = ENGINES.get(engine)
    if info is not None and info.decodes_uncounted:
        return stages | {"decode": stages["decode"] + rest, "rest": 0.0}
    return stages | {"rest": rest}


def mean_stages(rounds: list[Round]) -> dict[str, float]:
    """ms an image, rounded, over all rounds."""
    names: Iterator[str] = iter(rounds[0].stages)
    return {
        name: round(math.fsum(each.stages[name] for each in rounds) / len(rounds), 4)
        for name in names
    }


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
