"""What `bench loop` races a loader against: the same pictures, with less around them.

All contestants run in one process: the same bytes in the same memory, the same machine code at the
same place, and a clock of the core time that is exact, which that of another process is not (it
counts in 10 ms). No two work at once: before each turn all threads have come to rest.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ..pipeline.compiling import compiled
from ..pipeline.contract import EngineOptions, Request
from ..pipeline.engines.ffcv.feeds import Feed, build_feed
from ..pipeline.engines.ffcv.loop import DONE, NO_ROOM, WAITING, Workspace, _decode
from ..pipeline.engines.ffcv.makers import KernelMaker, LoopRows
from ..pipeline.engines.rows import RowMaker, allocate
from ..pipeline.priority import lower_priority

_UNDER_WAY = 3  # batches of memory that the floor writes to in turn: too many for the caches
_BUSY_STEPS = 2**24

MakeRows = Callable[[LoopRows, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one round of one contestant."""

    images_per_s: float
    core_ms_per_image: float


def settle() -> float:
    """Wait until nothing in this process works; returns the core seconds so far."""
    before = time.process_time()
    while True:
        time.sleep(0.25)  # a thread of the lowest priority gets more than 1 ms in it
        after = time.process_time()
        if after - before < 0.001:
            return after
        before = after


class Memory:
    """Memory for a few batches, handed out in turn, whoever else may still use it."""

    def __init__(self, options: EngineOptions) -> None:
        self._pieces = itertools.cycle(
            allocate(options.batch_size, spec.size, options.pixel_dtype).zero_()
            for spec in options.specs * _UNDER_WAY
        )

    def __call__(self, count: int, size: int, dtype: torch.dtype) -> torch.Tensor:
        """See `rows.Allocate`; training has batches of one size."""
        piece = next(self._pieces)
        assert piece.shape[::2] == (count, size)
        assert piece.dtype == dtype
        return piece


class Prepared:
    """Requests as rows whose pictures lie in memory. They can be made again and again."""

    def __init__(
        self, requests: Sequence[Request], options: EngineOptions, *, feed: Feed, memory: Memory
    ) -> None:
        """
        Args:
            requests: of the rows.
            options: of the engine.
            feed: where it finds pictures.
            memory: for the views.
        """
        self.batches = [LoopRows(request, options, allocate=memory) for request in requests]
        self._kept = [feed.fill(rows.records) for rows in self.batches]
        self._records = [rows.records.copy() for rows in self.batches]
        self.num_images = sum(len(rows.pixels[0]) for rows in self.batches)

    @property
    def are_raw(self) -> bool:
        """Whether there is nothing to decode."""
        return all(bool(records["is_raw"].all()) for records in self._records)

    def reset(self) -> None:
        """All rows are to be made."""
        for rows, records in zip(self.batches, self._records, strict=True):
            rows.records[:] = records


class InMemory:
    """A feed of prepared rows: they are filled already."""

    def fill(self, rows: np.ndarray) -> None:
        """Nothing is left to do."""


@compiled(nogil=True)
def _decode_rows(rows, start, stop, work):
    """Decode the WAITING ones of rows[start:stop] that are not raw, and set their status."""
    for number in range(start, stop):
        row = rows[number]
        if row.status == WAITING:
            status = WAITING if row.is_raw else _decode(row, work)
            row.status = DONE if status == WAITING else status


class DecodeMaker:
    """Decodes the pictures of rows as `KernelMaker` does, and no more. Belongs to one thread."""

    def __init__(self, options: EngineOptions) -> None:
        self._maker = RowMaker(options)
        self._workspace = Workspace(tuple(spec.size for spec in options.specs))

    def __call__(self, rows: LoopRows, start: int, stop: int) -> None:
        """Decode rows `start` to `stop`."""
        _decode_rows(rows.records, start, stop, self._workspace.work)
        for row in start + np.flatnonzero(rows.records["status"][start:stop] != DONE):
            record = rows.records[row]
            size = int(record["height"]), int(record["width"])
            if record["status"] == NO_ROOM and self._workspace.fit(*size):
                record["status"] = WAITING
                _decode_rows(rows.records, row, row + 1, self._workspace.work)
            if record["status"] != DONE:
                self._maker.decode_or_next(rows, int(row))


class Threads:
    """Threads that make prepared rows, and nothing else; of the engine's priority."""

    def __init__(self, makers: Sequence[MakeRows], *, chunk: int) -> None:
        """
        Args:
            makers: one for each thread.
            chunk: rows that a thread makes at a time.
        """
        self._makers = makers
        self._chunk = chunk
        self._pool = ThreadPoolExecutor(len(makers), initializer=lower_priority)

    def run(self, prepared: Prepared) -> Cost:
        """One round: all rows."""
        prepared.reset()
        chunks = deque(
            (rows, start, min(start + self._chunk, len(rows)))
            for rows in prepared.batches
            for start in range(0, len(rows), self._chunk)
        )
        core_s, started = settle(), time.perf_counter()
        list(self._pool.map(partial(_make_all, chunks), self._makers))
        seconds, core_s = time.perf_counter() - started, time.process_time() - core_s
        return Cost(
            images_per_s=prepared.num_images / seconds,
            core_ms_per_image=1000 * core_s / prepared.num_images,
        )

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _make_all(chunks: deque[Any], make: MakeRows) -> None:
    with contextlib.suppress(IndexError):  # another thread has taken the last one
        while chunks:
            taken = chunks.popleft()
            make(*taken)


class Field:
    """All that is raced against one loader."""

    def __init__(self, options: EngineOptions, *, chunk: int) -> None:
        """
        Args:
            options: of the loader's engine.
            chunk: rows that one of its threads makes at a time.
        """
        self._options = options
        self._chunk = chunk
        self._feed = build_feed(options.source)
        self._memory = Memory(options)

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """These requests, to be made without the loader."""
        return Prepared(requests, self._options, feed=self._feed, memory=self._memory)

    def build_floor(self, num_threads: int) -> Threads:
        """Decoding, drawing and both views, as the loader makes them."""
        makers = [KernelMaker(self._options, InMemory()) for _ in range(num_threads)]
        return Threads(makers, chunk=self._chunk)

    def build_decode(self, num_threads: int) -> Threads:
        """Decoding alone."""
        makers = [DecodeMaker(self._options) for _ in range(num_threads)]
        return Threads(makers, chunk=self._chunk)


@compiled(nogil=True)
def _busy(steps):
    """Eight chains at a time, since one alone leaves half of a core to its other thread."""
    chains = np.arange(1, 9).astype(np.uint64)
    for _ in range(steps):
        for number in range(8):
            value = chains[number]
            value ^= value << np.uint64(13)
            value ^= value >> np.uint64(7)
            chains[number] = value ^ (value << np.uint64(17))
    return chains.sum()


def busy_rate(num_threads: int) -> float:
    """Pieces per second of a plain loop in so many threads."""
    pieces: Iterable[int] = [_BUSY_STEPS] * (4 * num_threads)
    with ThreadPoolExecutor(num_threads, initializer=lower_priority) as pool:
        list(pool.map(_busy, [1] * num_threads))  # compiled, and the threads are there
        started = time.perf_counter()
        list(pool.map(_busy, pieces))
        return 4 * num_threads / (time.perf_counter() - started)
