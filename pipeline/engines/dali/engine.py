"""The DALI engine: our own index reads, in our own order; DALI decodes; the kernel does the rest.

Threads only, no worker processes: readers wait for the disk, DALI's threads decode a piece of a
batch, kernel threads make the views of the piece before it (`views`). Where crops are wanted, DALI
makes those as well, on the device (`crops`). One more thread, the producer, leads them and keeps
finished batches ahead of the trainer.

Files that are not plain (see `plain`), and every sample of a piece at which DALI failed, go
through `decode_rgb` in a kernel thread: the outcome for every kind of file is the documented one.
"""

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Protocol

from ...augment.draw import warm_up
from ...contract import EngineOptions, Request, Result
from ...devices import enter_device
from ...stages import READ, REST, StageClock
from ..rows import Rows
from .pipeline import DaliPipeline
from .samples import Piece, Sample, read_sample
from .threads import DaemonThreads, result_unless
from .views import ViewWriter

if TYPE_CHECKING:
    import torch

_BATCHES_AHEAD = 2  # finished, waiting for the trainer
_PIECES_READ_AHEAD = 3
_NUM_READERS = 4  # they wait for disks; for cached files one would do
# Samples in a piece: few, so that its pictures (0.6 MB each) stay small together, yet several for
# each of DALI's threads. Crops are made on a GPU, where decoders (not yet run) want larger ones.
_PIECE = {"views": 32, "crops": 128}
_SAMPLES_PER_THREAD = 4
_MAX_UNEXPLAINED = 3
_POLL_S = 0.2
_CLOSE_S = 20.0


def build(options: EngineOptions) -> "DaliEngine":
    """The engine for these options."""
    return DaliEngine(options)


class Writer(Protocol):
    """What becomes of DALI's pictures or crops. All but `finish`'s shares run in one thread."""

    stream: "torch.cuda.Stream | None"
    """Of the device that the batches lie on; None: in host memory."""

    def open(self, request: Request) -> Rows:
        """An empty batch."""
        ...

    def prepare(self, piece: Piece) -> None:
        """Draw what DALI is told of a piece."""
        ...

    def receive(self, outputs: tuple[Any, ...], piece: Piece) -> None:
        """Take over DALI's outputs, whose memory lives until the next piece is asked for."""
        ...

    def finish(self, piece: Piece, workers: Executor, *, num_shares: int) -> None:
        """Make what is missing, shared out over the workers."""
        ...

    def result(self, rows: Rows) -> Result:
        """The batch, finished."""
        ...


class DaliEngine:
    """See the module; the contract is `contract.Engine`. `num_workers` are DALI's and the kernel's
    threads, each.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._producer: _Producer | None = None
        self._stop: Callable[[], object] | None = None

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        for spec in self._options.specs:
            # Compiled once, so that the threads do not all compile it.
            warm_up(spec, dtype=self._options.pixel_dtype, ops=self._options.ops)
        self._producer = producer = _Producer(self._options, requests)
        # Also when the engine is forgotten, and before the interpreter ends.
        self._stop = weakref.finalize(self, producer.stop)
        return self._results(producer)

    def _results(self, producer: "_Producer") -> Iterator[Result]:
        while (result := producer.take()) is not None:
            yield result

    def whereabouts(self) -> list[tuple[str, int]]:
        return [] if self._producer is None else self._producer.whereabouts()

    def close(self) -> None:
        if self._stop is not None:
            self._stop()


class _Producer:
    """The leading thread and what it leads. Holds no reference to the engine."""

    def __init__(self, options: EngineOptions, requests: Iterator[Request]) -> None:
        self._options = options
        self._requests = requests
        self._num_threads = max(options.num_workers, 1)
        at_a_time = max(_PIECE[options.delivers], _SAMPLES_PER_THREAD * self._num_threads)
        self._piece_size = min(options.batch_size, options.decoder.batch_size or at_a_time)
        self._suspects: set[int] = set()
        self._clock = StageClock(options.stages)
        self._num_unexplained = 0
        self._stopping = threading.Event()
        self._reading: dict[str, int] = {}
        self._finishing: Piece | None = None
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

    def whereabouts(self) -> list[tuple[str, int]]:
        """Of the readers; of the kernel's threads, which share a piece, the first that it reads."""
        at = sorted(self._reading.copy().items())  # a copy at once, whatever they do meanwhile
        piece = self._finishing
        if piece is None:
            return at
        read = [sample for sample in piece.samples if sample.plain is None] or piece.samples
        return [*at, (self._thread.name, int(piece.rows.index[read[0].row]))]

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
        # The trainer's threads go first: they wait for batches only when none is ready, and one
        # that launches a GPU's work must never wait for a core. On Linux this is for this thread
        # and those that it starts, DALI's among them.
        os.nice(10)
        try:
            self._produce()
        except BaseException as error:  # raised again in the trainer
            self._put(error)

    def _produce(self) -> None:
        enter_device(self._options.device)
        readers = DaemonThreads(_NUM_READERS, name="dali-reader")
        workers = DaemonThreads(self._num_threads, name="dali-kernel")
        writer = _build_writer(self._options)
        decoder = DaliPipeline(self._options, writer, max_samples=self._piece_size)
        try:
            for piece in decoder.decode(self._pieces(readers, writer)):
                self._finishing = piece
                writer.finish(piece, workers, num_shares=self._num_threads)
                self._finishing = None
                if piece.error is not None:
                    self._explain(piece, piece.error)
                elif piece.encoded:
                    self._num_unexplained = 0
                if piece.is_last:
                    self._put(writer.result(piece.rows))
                if self._stopping.is_set():
                    return
            self._put(None)
        finally:
            for pool in (readers, workers):
                pool.shutdown(cancel_futures=True)
            decoder.close()

    def _pieces(self, readers: Executor, writer: Writer) -> Iterator[Piece]:
        """All batches, cut into pieces and read ahead."""
        ahead: deque[tuple[Rows, bool, list[Future[Sample]]]] = deque()

        def next_piece() -> Piece:
            rows, is_last, reads = ahead.popleft()
            samples = [result_unless(self._stopping, read) for read in reads]
            piece = Piece(rows, samples, is_last)
            writer.prepare(piece)
            return piece

        for request in self._requests:
            rows = writer.open(request)
            count = len(rows)
            for start in range(0, count, self._piece_size):
                end = min(start + self._piece_size, count)
                reads = [
                    readers.submit(self._read, row, int(request.indices[row]))
                    for row in range(start, end)
                ]
                ahead.append((rows, end == count, reads))
                if len(ahead) > _PIECES_READ_AHEAD:
                    yield next_piece()
        while ahead:
            yield next_piece()

    def _read(self, row: int, index: int) -> Sample:
        name = threading.current_thread().name
        self._reading[name] = index
        try:
            self._clock.lap(REST)
            sample = read_sample(self._options.source, row, index, suspects=self._suspects)
            self._clock.lap(READ)
            return sample
        finally:
            del self._reading[name]

    def _explain(self, piece: Piece, error: Exception) -> None:
        """Keep the culprits of DALI's failure from it; raise the error if there are none, and DALI
        does nothing but fail. (A GPU's decoder may refuse a file now and then that another takes:
        then all of the piece are kept from it, or each epoch would cost another pipeline.)
        """
        culprits = {sample.index for sample in piece.encoded if piece.rows.bad[sample.row]}
        self._suspects |= culprits or {sample.index for sample in piece.encoded}
        self._num_unexplained = 0 if culprits else self._num_unexplained + 1
        if self._num_unexplained > _MAX_UNEXPLAINED:
            raise RuntimeError("DALI fails on pictures that can be decoded without it") from error


def _build_writer(options: EngineOptions) -> Writer:
    if options.delivers == "views":
        return ViewWriter(options)
    from .crops import CropWriter  # DALI's plugin for torch, which views have no need of

    return CropWriter(options)
