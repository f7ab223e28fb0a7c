"""One thread's work in the ffcv engine: rows of a batch by the kernel, or by the oracle."""

import numpy as np
import torch

from ...augment.cpu import as_pixels, make_constants
from ...augment.sampler import pack_spec
from ...contract import EngineOptions, Request
from ...stages import READ, REST, StageClock, claim
from ..rows import Allocate, RowMaker, Rows
from .feeds import Feed
from .loop import DONE, NO_ROOM, ROW, WAITING, Workspace, compiled_augment, make_rows


class LoopRows(Rows):
    """A batch that the compiled loop can fill."""

    def __init__(self, request: Request, options: EngineOptions, *, allocate: Allocate) -> None:
        super().__init__(request, options, allocate=allocate)
        self.records = np.zeros(len(request.indices), ROW)
        """(B,) records of `ROW`."""
        self.index = self.records["index"]  # one memory for both
        self.index[:] = request.indices
        for row in np.flatnonzero(request.indices < 0):
            self.leave_empty(int(row))

    def leave_empty(self, row: int) -> None:
        super().leave_empty(row)
        self.records["status"][row] = DONE

    def at(self, start: int, stop: int) -> int:
        """Index of the first of those rows whose file is not read, or else that is not made; -1
        where nothing is left.
        """
        records = self.records[start:stop]
        left = records["status"] != DONE
        unread = (records["status"] == WAITING) & (records["address"] == 0)
        found = np.flatnonzero(unread if unread.any() else left)
        return int(records["index"][found[0]]) if found.size else -1


class KernelMaker:
    """Makes rows by the compiled loop. Belongs to one thread."""

    def __init__(self, options: EngineOptions, feed: Feed) -> None:
        self._options = options
        self._feed = feed
        self._maker = RowMaker(options)
        self._clock = StageClock(options.stages)
        sizes = tuple(spec.size for spec in options.specs)
        self._workspace = Workspace(sizes, claim(options.stages))
        self._specs = np.concatenate([pack_spec(spec) for spec in options.specs])
        self._constants = tuple(make_constants(spec.normalize) for spec in options.specs)
        memory = torch.empty((1, 8, 8, 3), dtype=options.pixel_dtype).permute(0, 3, 1, 2)
        self._augment = compiled_augment(as_pixels(memory).dtype, self._workspace.work.scratches[0])

    def __call__(self, rows: LoopRows, start: int, stop: int) -> None:
        """Make rows `start` to `stop`."""
        records = rows.records[start:stop]
        self._clock.lap(REST)
        kept = self._feed.fill(records)
        self._clock.lap(READ)
        self._run(rows, start, stop)
        for row in start + np.flatnonzero(records["status"] != DONE):
            self._finish(rows, int(row))
        del kept

    def _run(self, rows: LoopRows, start: int, stop: int) -> None:
        make_rows(
            rows.records,
            start,
            stop,
            np.uint64(self._options.seed),
            np.uint64(rows.epoch),
            self._specs,
            rows.params,
            self._constants,
            self._augment,
            rows.pixels,
            self._workspace.work,
        )

    def _finish(self, rows: LoopRows, row: int) -> None:
        """Make a row that the loop could not: too large for the workspace, or not a plain JPEG."""
        record = rows.records[row]
        size = int(record["height"]), int(record["width"])
        if record["status"] == NO_ROOM and self._workspace.fit(*size):
            record["status"] = WAITING
            self._run(rows, row, row + 1)
        if record["status"] == DONE:
            return
        image = self._maker.decode_or_next(rows, row)
        if image is None:
            rows.leave_empty(row)
            return
        record["address"], record["is_raw"], record["status"] = image.ctypes.data, 1, WAITING
        record["height"], record["width"] = image.shape[:2]
        self._workspace.fit_window(max(image.shape))
        self._run(rows, row, row + 1)
        assert record["status"] == DONE, record


class OracleMaker:
    """Makes rows by the float64 reference, for checking. Belongs to one thread."""

    def __init__(self, options: EngineOptions, feed: Feed) -> None:
        self._maker = RowMaker(options)

    def __call__(self, rows: LoopRows, start: int, stop: int) -> None:
        """Make rows `start` to `stop`."""
        for row in start + np.flatnonzero(rows.records["status"][start:stop] != DONE):
            self._maker.decode_and_make(rows, int(row))
            rows.records["status"][row] = DONE
