"""The contestant's side of `bench loader`: batches on demand, and how long each took."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from ..pipeline.stages import Stages
from .contestants import CONTESTANTS, Task
from .racer import answer

_AHEAD = 4  # batches for each worker that may lie ready: not counted in the wall rate


def serve(name: str, task: Task) -> int:
    """Answer each number of images on stdin with the wall rate, the images given in all, the time
    between batches, and where our own engines' workers had spent theirs before, all queues full;
    none asks for nothing but that.
    """
    begun = time.perf_counter()
    stages = Stages(num_workers=task.num_workers)
    batches = CONTESTANTS[name].build(replace(task, stages=stages))
    next(batches)
    answer(first_batch_s=time.perf_counter() - begun)
    ahead = _AHEAD * max(task.num_workers, 1)
    for line in sys.stdin:
        stages_s = stages.seconds()
        if int(line) == 0:
            answer(stages_s=stages_s)
            continue
        images = sum(next(batches) for _ in range(ahead))
        counts, gaps_ms = _take(batches, int(line))
        answer(
            images_per_s=sum(counts) / (sum(gaps_ms) / 1000),
            images=images + sum(counts),
            gaps_ms=gaps_ms,
            stages_s=stages_s,
        )
    return 0


def _take(batches: Iterator[int], images: int) -> tuple[list[int], list[float]]:
    """Batches of so many images in all, and the time that each was waited for, ms."""
    counts: list[int] = []
    gaps_ms = []
    begun = time.perf_counter()
    while sum(counts) < images:
        counts.append(next(batches))
        now = time.perf_counter()
        gaps_ms.append(1000 * (now - begun))
        begun = now
    return counts, gaps_ms
