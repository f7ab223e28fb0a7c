"""The DALI engine: our own index reads, in our own order; DALI decodes; the kernel does the rest.

Threads only, no worker processes: readers wait for the disk, DALI's threads decode a piece of a
batch, kernel threads make the views of the piece before it. One more thread, the producer, leads
them and keeps finished batches ahead of the trainer.

Files that are not plain (see `plain`), and every sample of a piece at which DALI failed, go
through `decode_rgb` in a kernel thread: the outcome for every kind of file is the documented one.
"""

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from ...augment.draw import warm_up
from ...contract import EngineOptions, Request, Result
from ..rows import Rows, allocate
from .pipeline import DaliPipeline
from .samples import Piece, Sample, read_sample
from .views import ViewWriter

_BATCHES_AHEAD = 2  # finished, waiting for the trainer
_PIECES_READ_AHEAD = 3
_NUM_READERS = 4  # they wait for disks; for cached files one would do
# Samples in a piece: few, so that its pictures (0.6 MB each) stay small together, yet several for
# each of DALI's threads. Hardware decoders (not yet run) want larger batches.
_PIECE = {"cpu": 32, "cuda": 128}
_SAMPLES_PER_THREAD = 4
_MAX_UNEXPLAINED = 3
_POLL_S = 0.2
_CLOSE_S = 20.0


def build(options: EngineOptions) -> "DaliEngine":
    """The engine for these options."""
    # The oracle begins with the picture, so crops are left to DALI only for the kernel.
    is_cropping = options.device.type == "cuda" and options.ops == "kernel"
    return DaliEngine(options, is_cropping=is_cropping)


class DaliEngine:
    """See the module; the contract is `contract.Engine`."""

    def __init__(self, options: EngineOptions, *, is_cropping: bool) -> None:
        """
        Args:
            options: of the contract; `num_workers` are DALI's and the kernel's threads, each.
            is_cropping: DALI makes the crops; otherwise it decodes, and the kernel makes them.
        """
        self._options = options
        self._is_cropping = is_cropping
        self._stop: Callable[[], object] | None = None

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        for spec in self._options.specs:
            # Compiled once, so that the threads do not all compile it.
            warm_up(spec, dtype=self._options.dtype, ops=self._options.ops)
        producer = _Producer(self._options, requests, is_cropping=self._is_cropping)
        # Also when the engine is forgotten, and before the interpreter ends.
        self._stop = weakref.finalize(self, producer.stop)
        return self._results(producer)

    def _results(self, producer: "_Producer") -> Iterator[Result]:
        while (result := producer.take()) is not None:
            yield result

    def close(self) -> None:
        if self._stop is not None:
            self._stop()


class _Producer:
    """The leading thread and what it leads. Holds no reference to the engine."""

    def __init__(
        self, options: EngineOptions, requests: Iterator[Request], *, is_cropping: bool
    ) -> None:
        self._options = options
        self._requests = requests
        self._is_cropping = is_cropping
        self._num_threads = max(options.num_workers, 1)
        self._piece_size = min(
            options.batch_size,
            max(_PIECE[options.device.type], _SAMPLES_PER_THREAD * self._num_threads),
        )
        self._allocate = partial(allocate, is_pinned=options.device.type == "cuda")
        self._writer = ViewWriter(options, is_cropping=is_cropping)
        self._suspects: set[int] = set()
        self._num_unexplained = 0
        self._stopping = threading.Event()
        self._ready: queue.Queue[Result | BaseException | None] = queue.Queue(_BATCHES_AHEAD)
        self._thread = threading.Thread(target=self._run, name="dali-producer", daemon=True)
        self._thread.start()

    def take(self) -> Result | None:
        """The next batch; None at the end. Raises what the producer met."""
        while True:
            try:
                result = self._ready.get(timeout=_POLL_S)
            except queue.Empty:
                if self._thread.is_alive():
                    continue
                raise RuntimeError("the DALI engine was closed or has died") from None
            if isinstance(result, BaseException):
                raise result
            return result

    def stop(self) -> None:
        """End all threads, after the piece that they are at."""
        self._stopping.set()
        self._thread.join(_CLOSE_S)

    def _put(self, item: Result | BaseException | None) -> None:
        while not self._stopping.is_set():
            try:
                return self._ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue

    def _run(self) -> None:
        if self._options.device.type == "cpu":
            # Let the training step's threads go first: it waits for batches only when none is
            # ready. On Linux this is for this thread and those that it starts, DALI's among them.
            os.nice(10)
        readers, workers = ThreadPoolExecutor(_NUM_READERS), ThreadPoolExecutor(self._num_threads)
        decoder = DaliPipeline(
            self._options,
            max_samples=self._piece_size,
            num_threads=self._num_threads,
            is_cropping=self._is_cropping,
        )
        try:
            for piece in decoder.decode(self._pieces(readers)):
                self._finish(piece, workers)
                if piece.is_last:
                    self._put(piece.rows.result())
                if self._stopping.is_set():
                    return
            self._put(None)
        except BaseException as error:  # raised again in the trainer
            self._put(error)
        finally:
            for pool in (readers, workers):
                pool.shutdown(cancel_futures=True)
            decoder.close()

    def _pieces(self, readers: ThreadPoolExecutor) -> Iterator[Piece]:
        """All batches, cut into pieces and read ahead."""
        ahead: deque[tuple[Rows, bool, list[Future[Sample]]]] = deque()
        for request in self._requests:
            rows = Rows(request, self._options, allocate=self._allocate)
            count = len(rows)
            for start in range(0, count, self._piece_size):
                end = min(start + self._piece_size, count)
                reads = [
                    readers.submit(self._read, row, int(request.indices[row]))
                    for row in range(start, end)
                ]
                ahead.append((rows, end == count, reads))
                if len(ahead) > _PIECES_READ_AHEAD:
                    yield self._piece(*ahead.popleft())
        while ahead:
            yield self._piece(*ahead.popleft())

    def _read(self, row: int, index: int) -> Sample:
        return read_sample(self._options.source, row, index, suspects=self._suspects)

    def _piece(self, rows: Rows, is_last: bool, reads: list[Future[Sample]]) -> Piece:
        piece = Piece(rows, [read.result() for read in reads], is_last)
        if self._is_cropping:
            for sample in piece.encoded:
                self._writer.draw(rows, sample)
        return piece

    def _finish(self, piece: Piece, workers: ThreadPoolExecutor) -> None:
        """Make the piece's views, on all threads."""
        shares = [piece.samples[first :: self._num_threads] for first in range(self._num_threads)]
        writes = [workers.submit(self._writer.write, piece.rows, share) for share in shares]
        wait(writes)  # for all of them, even if one fails: they read DALI's memory
        for write in writes:
            write.result()
        if piece.error is not None:
            self._explain(piece, piece.error)

    def _explain(self, piece: Piece, error: Exception) -> None:
        """Keep the culprits of DALI's failure from it; raise the error if there are never any."""
        culprits = {sample.index for sample in piece.encoded if piece.rows.bad[sample.row]}
        self._suspects |= culprits
        self._num_unexplained = 0 if culprits else self._num_unexplained + 1
        if self._num_unexplained > _MAX_UNEXPLAINED:
            raise RuntimeError("DALI fails on pictures that can be decoded without it") from error
