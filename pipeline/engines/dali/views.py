"""DALI decodes on the CPU, and the kernel makes the views of its pictures in all threads."""

from concurrent.futures import Executor, wait
from functools import partial
from typing import Any

import numpy as np
import torch

from ...contract import EngineOptions, Request, Result
from ..rows import RowMaker, Rows, allocate
from .samples import Piece, Sample


class ViewWriter:
    """Fills batches with views; see `engine.Writer`."""

    stream: torch.cuda.Stream | None = None

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._allocate = partial(allocate, is_pinned=options.device.type == "cuda")
        self._maker = RowMaker(options)

    def open(self, request: Request) -> Rows:
        return Rows(request, self._options, allocate=self._allocate)

    def prepare(self, piece: Piece) -> None:
        return None

    def receive(self, outputs: tuple[Any, ...], piece: Piece) -> None:
        piece.owner = outputs[0]
        for number, sample in enumerate(piece.encoded):
            sample.image = np.asarray(piece.owner[number])

    def finish(self, piece: Piece, workers: Executor, *, num_shares: int) -> None:
        shares = [piece.samples[first::num_shares] for first in range(num_shares)]
        writes = [workers.submit(self._write, piece.rows, share) for share in shares]
        wait(writes)  # for all of them, even if one fails: they read DALI's memory
        for write in writes:
            write.result()
        for sample in piece.encoded:
            sample.image = None
        piece.owner = None

    def result(self, rows: Rows) -> Result:
        return rows.result()

    def _write(self, rows: Rows, samples: list[Sample]) -> None:
        for sample in samples:
            if sample.image is None:
                self._maker.decode_and_make(rows, sample.row, data=sample.data)
            else:
                self._maker.make(rows, sample.row, sample.image)
