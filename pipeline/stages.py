"""Where a loader's workers spend their time: counters that count nothing unless somebody asks.

Each thread has a row of its own, so that none waits for another; the memory is shared with worker
processes. Between two calls of `lap` all time is that of the stage that is named at the second, by
the wall's clock: a thread that waits for a disk is in the stage that reads. Threads that have to
share a core wait for each other in all stages alike, so shares stay right.
"""

# numba's decorators change signatures in ways that no checker sees.
# pyright: reportCallIssue=false

import ctypes
import itertools
import threading
import time
from multiprocessing.sharedctypes import RawArray

import numpy as np
from numba import njit, types

READ, DECODE, CROP, COLOUR, COPY, REST = range(6)
STAGES = {
    "read": "files to memory",
    "decode": "to pixels",
    "crop": "crop and resize, both views",
    "colour": "colours, blur, flip and normalisation, both views",
    "copy": "of finished batches, to another process or to the device",
}
"""What is counted, by the number of its place; `REST` is not."""

_LAST, _SECONDS, _NANOSECONDS, NOTHING, _WIDTH = 6, 8, 9, 10, 16  # 128 bytes: two cache lines
_ROWS_A_WORKER = 16
_MONOTONIC = 1

NO_TICKS = np.zeros(0, np.int64)
"""Where nothing is counted."""

_clock_gettime = types.ExternalFunction("clock_gettime", types.intc(types.intc, types.uintp))


@njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def lap(ticks, stage):
    """Add the time since this thread's last call to a stage. For compiled code.

    Args:
        ticks: of `Stages.claim`, or `NO_TICKS`.
        stage: one of the numbers above.
    """
    if ticks.size > 0:
        _clock_gettime(_MONOTONIC, ticks.ctypes.data + 8 * _SECONDS)
        now = ticks[_SECONDS] * 1_000_000_000 + ticks[_NANOSECONDS]
        ticks[stage] += now - ticks[_LAST]
        ticks[_LAST] = now


class Stages:
    """The counters of one loader."""

    def __init__(self, *, num_workers: int) -> None:
        """
        Args:
            num_workers: of the loader: threads or processes.
        """
        self._memory = RawArray(ctypes.c_int64, _ROWS_A_WORKER * (num_workers + 2) * _WIDTH)
        self._claimed = itertools.count()

    def enter_worker(self, worker: int) -> None:
        """Called in a worker process: from here on it has the rows of this number."""
        self._claimed = itertools.count(_ROWS_A_WORKER * (worker + 1))

    def claim(self) -> np.ndarray:
        """A row for the calling thread alone: (16,) int64. What it has done before is not counted.

        Raises:
            IndexError: more have been claimed than workers can need.
        """
        ticks = self._rows()[next(self._claimed)]
        ticks[_LAST] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        return ticks

    def seconds(self) -> dict[str, float]:
        """So far, of all workers together, by the names of `STAGES`."""
        return dict(
            zip(STAGES, (self._rows()[:, : len(STAGES)].sum(0) / 1e9).tolist(), strict=True)
        )

    def _rows(self) -> np.ndarray:
        return np.ctypeslib.as_array(self._memory).reshape(-1, _WIDTH)


class StageClock:
    """`lap` for Python code. Many threads may share one; each has its row."""

    def __init__(self, stages: Stages | None) -> None:
        self._stages = stages
        self._local = threading.local()

    def lap(self, stage: int) -> None:
        """Add the time since this thread's last call to a stage."""
        if self._stages is None:
            return
        ticks = getattr(self._local, "ticks", None)
        if ticks is None:
            ticks = self._local.ticks = self._stages.claim()
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        ticks[stage] += now - ticks[_LAST]
        ticks[_LAST] = now


def claim(stages: Stages | None) -> np.ndarray:
    """A row, or none where nothing is counted."""
    return NO_TICKS if stages is None else stages.claim()
