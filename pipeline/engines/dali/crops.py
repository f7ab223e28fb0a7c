"""DALI decodes and crops, and its crops stay on the device; `delivery` makes the views of them.

What DALI does not make (files that are not plain, all of a piece at which it failed) is cropped by
the kernel on the host and copied to its rows.

DALI's memory is not torch's: when DALI's tensor is dropped, it is used again in the order of DALI's
own stream, whatever torch still has to read. So crops are copied on the device, which each piece
needs anyway to come into its batch: with a stream given, the copy waits for DALI's, and DALI's for
the copy. On a CPU the same calls copy within the host's memory.
"""

from collections.abc import Sequence
from concurrent.futures import Executor, wait
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from nvidia.dali.plugin.pytorch import feed_ndarray

from ...contract import EngineOptions, Request, Result
from ...devices import on_stream
from ..rows import RowMaker, Rows, allocate
from .samples import Piece, Sample


class CropWriter:
    """Fills batches with crops on the device; see `engine.Writer`. Belongs to one thread."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        is_cuda = options.device.type == "cuda"
        self.stream = torch.cuda.Stream(options.device) if is_cuda else None
        self._allocate_on_host = partial(allocate, is_pinned=is_cuda)
        self._maker = RowMaker(options)

    def open(self, request: Request) -> Rows:
        with on_stream(self.stream):
            return Rows(request, self._options, allocate=self._allocate)

    def prepare(self, piece: Piece) -> None:
        for sample in piece.encoded:
            assert sample.plain is not None
            height, width = sample.plain.height, sample.plain.width
            self._maker.draw(piece.rows, sample.row, height=height, width=width)

    def receive(self, outputs: tuple[Any, ...], piece: Piece) -> None:
        with on_stream(self.stream):
            for crops, place in zip(outputs, self._places(piece), strict=True):
                feed_ndarray(crops.as_tensor(), place, cuda_stream=self.stream)

    def finish(self, piece: Piece, workers: Executor, *, num_shares: int) -> None:
        is_failed = piece.error is not None
        left = [sample for sample in piece.samples if is_failed or sample.plain is None]
        if not left:
            return
        indices = np.array([sample.index for sample in left], np.int64)
        request = Request(piece.rows.epoch, indices)
        made = Rows(request, self._options, allocate=self._allocate_on_host)
        numbered = list(enumerate(left))
        shares = [numbered[first::num_shares] for first in range(num_shares)]
        writes = [workers.submit(self._make, made, share) for share in shares]
        wait(writes)
        for write in writes:
            write.result()
        self._move(made, [sample.row for sample in left], piece.rows)

    def result(self, rows: Rows) -> Result:
        ready = None
        if self.stream is not None:
            ready = torch.cuda.Event()
            ready.record(self.stream)
        return replace(rows.result(), ready=ready)

    def _allocate(self, count: int, size: int, dtype: torch.dtype) -> torch.Tensor:
        shape = (count, size, size, 3)
        return torch.empty(shape, dtype=dtype, device=self._options.device).permute(0, 3, 1, 2)

    def _places(self, piece: Piece) -> list[torch.Tensor]:
        """Where the crops of a piece belong, (rows, size, size, 3) for each view."""
        return [crops[piece.start : piece.stop] for crops in piece.rows.crops]

    def _make(self, rows: Rows, samples: Sequence[tuple[int, Sample]]) -> None:
        for number, sample in samples:
            self._maker.decode_and_make(rows, number, data=sample.data)

    def _move(self, made: Rows, places: list[int], rows: Rows) -> None:
        """Put rows that were made on the host into their places in the batch."""
        rows.index[places] = made.index
        rows.params[:, places] = made.params
        for place, bad in zip(places, made.bad, strict=True):
            rows.bad[place] = bad
        with on_stream(self.stream):
            for crops, on_host in zip(rows.crops, made.crops, strict=True):
                for number, place in enumerate(places):
                    crops[place].copy_(on_host[number], non_blocking=True)
