"""One thread's work in the ffcv engine: rows of a batch by the kernel, or by the oracle."""

from dataclasses import dataclass, field

import numpy as np
import torch

from ..augment.cpu import as_pixels, make_constants
from ..augment.draw import build_view_maker
from ..augment.sampler import PARAMS, draw_view, pack_spec
from ..contract import BadSample, EngineOptions, Request, Result
from ..decode import decode_rgb
from ..errors import BadSampleError
from .ffcv_feeds import Feed
from .ffcv_memory import BatchMemory
from .ffcv_rows import DONE, NO_ROOM, ROW, WAITING, Workspace, compiled_augment, make_rows


@dataclass(frozen=True)
class OpenBatch:
    """A batch that is being made."""

    epoch: int
    rows: np.ndarray
    """(B,) records of `ROW`."""
    params: np.ndarray
    """(views, B) records of `PARAMS`."""
    views: tuple[torch.Tensor, ...]
    pixels: tuple[np.ndarray, ...]
    """The views' memory, see `as_pixels`."""
    bad: list[tuple[int, BadSample]] = field(default_factory=list)
    """With the row that each was found for."""

    def __len__(self) -> int:
        return len(self.rows)

    def leave_empty(self, number: int) -> None:
        """Nothing could be read for this row."""
        self.rows["index"][number] = -1
        self.rows["status"][number] = DONE
        for pixels in self.pixels:
            pixels[number] = 0

    def result(self) -> Result:
        """The finished batch; its bad samples in the order of the rows, whoever found them."""
        found = sorted(self.bad, key=lambda entry: entry[0])  # stable: tries stay in order
        return Result(self.views, self.rows["index"].copy(), [bad for _, bad in found])


def open_batch(options: EngineOptions, memory: BatchMemory, request: Request) -> OpenBatch:
    """The batch of a request, to be filled."""
    count = len(request.indices)
    views = tuple(memory.empty(count, spec.size, options.dtype) for spec in options.specs)
    rows = np.zeros(count, ROW)
    rows["index"] = request.indices
    batch = OpenBatch(
        epoch=request.epoch,
        rows=rows,
        params=np.zeros((len(views), count), PARAMS),
        views=views,
        pixels=tuple(map(as_pixels, views)),
    )
    for number in np.flatnonzero(request.indices < 0):
        batch.leave_empty(int(number))
    return batch


class KernelMaker:
    """Makes rows by the compiled loop. Belongs to one thread."""

    def __init__(self, options: EngineOptions, feed: Feed) -> None:
        self._options = options
        self._feed = feed
        self._workspace = Workspace(tuple(spec.size for spec in options.specs))
        self._specs = np.concatenate([pack_spec(spec) for spec in options.specs])
        self._constants = tuple(make_constants(spec.normalize) for spec in options.specs)
        dtype = as_pixels(torch.empty((1, 8, 8, 3), dtype=options.dtype).permute(0, 3, 1, 2)).dtype
        self._augment = compiled_augment(dtype, self._workspace.work.scratches[0])

    def __call__(self, batch: OpenBatch, start: int, stop: int) -> None:
        """Make rows `start` to `stop`."""
        rows = batch.rows[start:stop]
        kept = self._feed.fill(rows)
        self._run(batch, start, stop)
        for number in start + np.flatnonzero(rows["status"] != DONE):
            self._finish(batch, int(number))
        del kept

    def _run(self, batch: OpenBatch, start: int, stop: int) -> None:
        make_rows(
            batch.rows,
            start,
            stop,
            np.uint64(self._options.seed),
            np.uint64(batch.epoch),
            self._specs,
            batch.params,
            self._constants,
            self._augment,
            batch.pixels,
            self._workspace.work,
        )

    def _finish(self, batch: OpenBatch, number: int) -> None:
        """Make a row that the loop could not: too large for the workspace, or not a plain JPEG."""
        row = batch.rows[number]
        if row["status"] == NO_ROOM and self._workspace.fit(int(row["height"]), int(row["width"])):
            row["status"] = WAITING
            self._run(batch, number, number + 1)
        if row["status"] == DONE:
            return
        image = decode_or_next(self._options, batch, number)
        if image is None:
            batch.leave_empty(int(number))
            return
        row["address"], row["is_raw"], row["status"] = image.ctypes.data, 1, WAITING
        row["height"], row["width"] = image.shape[:2]
        self._workspace.fit_window(max(image.shape))
        self._run(batch, number, number + 1)
        assert row["status"] == DONE, row


class OracleMaker:
    """Makes rows by the float64 reference, for checking. Belongs to one thread."""

    def __init__(self, options: EngineOptions, feed: Feed) -> None:
        self._options = options
        self._specs = [pack_spec(spec)[0] for spec in options.specs]
        self._makers = [build_view_maker(spec, ops="oracle") for spec in options.specs]

    def __call__(self, batch: OpenBatch, start: int, stop: int) -> None:
        """Make rows `start` to `stop`."""
        for number in range(start, stop):
            if batch.rows["status"][number] == DONE:
                continue
            image = decode_or_next(self._options, batch, number)
            if image is None:
                batch.leave_empty(int(number))
                continue
            for view, make in enumerate(self._makers):
                draw_view(
                    self._specs[view],
                    np.uint64(self._options.seed),
                    np.uint64(batch.epoch),
                    batch.rows["index"][number],
                    np.uint64(view),
                    image.shape[0],
                    image.shape[1],
                    batch.params[view, number],
                )
                make(image, batch.params[view], number, batch.pixels[view])


def decode_or_next(options: EngineOptions, batch: OpenBatch, number: int) -> np.ndarray | None:
    """The row's picture, decoded in Python, or the next readable one in the listing, or nothing.

    The row's index becomes that of the picture. More failures than the budget allows need no
    further tries: the loader ends the run on them.
    """
    source = options.source
    wanted = int(batch.rows["index"][number])
    tries = 1 if options.max_bad_samples is None else options.max_bad_samples + 1
    for step in range(min(tries, len(source))):
        index = (wanted + step) % len(source)
        try:
            image = decode_rgb(source.read(index))
        except BadSampleError as error:
            batch.bad.append((number, BadSample(index, source.key(index), str(error))))
        else:
            batch.rows["index"][number] = index
            return image
    return None
