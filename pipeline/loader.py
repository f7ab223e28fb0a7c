"""The loader: one contract over every engine.

It owns the order, the place in it, the shares of the ranks and the budget for bad samples. Engines
only turn requests into pixels, and `delivery` takes these to the device.
"""

import sys
from collections.abc import Iterator

import numpy as np
import torch

from .ahead import RequestsAhead
from .contract import BadSample, Batch, Engine, EngineOptions, Request
from .decode import decode_rgb
from .delivery import Delivered, Delivery
from .engines import build
from .errors import BadSampleError, MachineError, UserError, one_line
from .order import BatchPlan
from .sources import Source
from .stall import StalledError, StallLimit, describe

_ROWS_AHEAD = 2**14  # of requests: while a new epoch's order is sorted, half of them are made
_JOIN_S = 10.0


class Loader:
    """Yields `Batch`es of one data set, epoch by epoch.

    Iterating yields what is left of the current epoch and then moves on to the next one, so that
    `for epoch in …: loader.set_epoch(epoch)` and a bare `for batch in loader` in a loop both see
    each epoch once. While the caller's epochs follow each other, the workers run ahead over the
    boundary.
    """

    def __init__(
        self,
        *,
        plan: BatchPlan,
        options: EngineOptions,
        engine_name: str,
        num_epochs: int | None = None,
        stall_s: float | None = None,
    ) -> None:
        """
        Args:
            plan: order and shares.
            options: for the engine.
            engine_name: of `engines.ENGINES`.
            num_epochs: the workers do not run ahead into this epoch; None: no end.
            stall_s: longest wait for a batch, five times as long for a stream's first; None: any.
        """
        self.engine_name = engine_name
        self.bad_samples: dict[int, BadSample] = {}
        self._plan = plan
        self._options = options
        self._num_epochs = num_epochs
        self._stall = StallLimit(stall_s)
        # At once, so that what cannot work is refused before anything is begun.
        self._engine: Engine | None = build(engine_name, options)
        labels = torch.from_numpy(np.append(options.source.labels, -1))
        self._delivery = Delivery(options, labels=labels)
        self._delivered: Iterator[Delivered] | None = None
        self._drawing: RequestsAhead | None = None
        self._stream_at: tuple[int, int] | None = None
        self._epoch = 0
        self._position = 0

    def __len__(self) -> int:
        """Batches that the next iteration yields; the same on every rank."""
        return self._plan.num_batches(start=self._position)

    @property
    def source(self) -> Source:
        """What it reads."""
        return self._options.source

    @property
    def options(self) -> EngineOptions:
        """What its engine is told."""
        return self._options

    @property
    def indices(self) -> np.ndarray:
        """(N,) int64: the samples that it yields."""
        return self._plan.indices

    def take_wait_s(self) -> float | None:
        """How long the device waited for batches since the last call, without waiting for it; None
        on a CPU, where the caller itself has waited.
        """
        return self._delivery.take_wait_s()

    def check_readable(self, count: int) -> None:
        """Try so many samples, spread over all.

        Raises:
            UserError: none of them can be read.
        """
        source, indices = self._options.source, self._plan.indices
        places = np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(np.int64)
        failure = None
        for index in indices[places].tolist():
            try:
                decode_rgb(source.read(index))
            except BadSampleError as error:
                failure = failure or f"{source.key(index)}: {error}"
            else:
                return
        raise UserError(f"{failure}; nor can any other of {len(places)} that were tried be read")

    @property
    def global_batch_size(self) -> int:
        """Pictures of a batch, over all ranks."""
        return self._plan.global_batch_size

    @property
    def batches_per_epoch(self) -> int:
        """Batches of a whole epoch."""
        return self._plan.num_batches()

    @property
    def max_rows(self) -> int:
        """Of an epoch's batches on this rank, padding included; the last may be smaller."""
        return self.batches_per_epoch * self._options.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Begin with this epoch; its order and its views depend on nothing else but the seed."""
        if epoch != self._epoch:
            self._epoch, self._position = epoch, 0

    def state(self) -> dict[str, int]:
        """The place behind the last batch yielded: epoch, and samples consumed over all ranks."""
        return {"epoch": self._epoch, "position": self._position}

    def load(self, state: dict[str, int]) -> None:
        """Continue behind that place; also with other ranks, batch size or engine."""
        self._epoch, self._position = state["epoch"], state["position"]

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._epoch, self._position
        is_first = False
        if self._delivered is None or self._stream_at != (epoch, start):
            is_first = True
            if self._delivered is not None or self._engine is None:
                self.close()
                self._engine = build(self.engine_name, self._options)
            results = self._engine.stream(self._draw_requests(epoch, start))
            self._delivered = self._delivery.deliver(results)
        delivered = self._delivered
        self._stream_at = None  # an iteration broken off leaves the stream at no known place
        try:
            for number in range(self._plan.num_batches(start=start)):
                if self._delivered is not delivered:
                    raise RuntimeError("the loader was closed, or iterated anew, in mid-iteration")
                batch = self._check(self._next(delivered, is_first=is_first))
                is_first = False
                self._epoch = epoch
                self._position = start + (number + 1) * self._plan.global_batch_size
                yield batch
        except BaseException:
            if self._delivered is delivered:
                self.close()
            raise
        self._epoch, self._position = epoch + 1, 0
        if self._plan.train and epoch + 1 != self._num_epochs:
            self._stream_at = (epoch + 1, 0)

    def _next(self, delivered: Iterator[Delivered], *, is_first: bool) -> Delivered:
        """The next batch, or an error that says what is waited for."""
        try:
            return self._stall.next(delivered, is_first=is_first)
        except StalledError as stalled:
            raise MachineError(
                f"data.stall_s={self._stall.limit_s:g}: the loader has delivered nothing for "
                f"{stalled.waited_s:g} s; {self._describe_wait()}: see whether its disk answers, "
                "then continue with --resume, or allow more"
            ) from None

    def _describe_wait(self) -> str:
        whereabouts = [] if self._engine is None else self._engine.whereabouts()
        known = [(name, self.source.key(index)) for name, index in whereabouts if index >= 0]
        if known:
            return describe(known)
        return f"it waits for the batch of epoch {self._epoch} at position {self._position}"

    def _draw_requests(self, epoch: int, start: int) -> Iterator[Request]:
        """`_requests`, by a thread of its own where the engine has any: an epoch's first one takes
        a while.
        """
        requests = self._requests(epoch, start)
        if self._options.num_workers:
            count = -(-_ROWS_AHEAD // self._options.batch_size)
            requests = self._drawing = RequestsAhead(requests, count=count)
        return requests

    def _requests(self, epoch: int, start: int) -> Iterator[Request]:
        """The rest of this epoch and, in training, all that follow."""
        while True:
            for indices in self._plan.batches(epoch, start=start):
                yield Request(epoch, indices)
            epoch, start = epoch + 1, 0
            if not self._plan.train or epoch == self._num_epochs:
                return

    def _check(self, delivered: Delivered) -> Batch:
        """Count the bad samples of a batch, and refuse it where there is nothing else."""
        for bad in delivered.bad:
            self._count_bad(bad)
        if self._plan.train and (delivered.index < 0).any():
            first = next(iter(self.bad_samples.values()))
            raise UserError(
                f"{first.key}: {first.reason}; nor can any other picture be read, of "
                f"{len(self._options.source)}; check data.path"
            )
        return delivered.batch

    def _count_bad(self, bad: BadSample) -> None:
        if bad.index in self.bad_samples:
            return
        self.bad_samples[bad.index] = bad
        budget = self._options.max_bad_samples
        if budget is not None and len(self.bad_samples) > budget:
            raise UserError(
                f"{bad.key}: {bad.reason}; mend or remove it, or let up to "
                f"data.max_bad_samples={len(self.bad_samples)} samples fail (now {budget})"
            )
        outcome = "left out" if budget is None else "replaced"
        text = one_line(f"bad sample {bad.key}: {bad.reason}; {outcome}")
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the workers. The loader can be iterated again; harmless when called twice."""
        if self._drawing is not None:  # first, since the engine's threads may wait for it
            self._drawing.stop(_JOIN_S)
        if self._engine is not None:
            self._engine.close()
        self._drawing = self._engine = self._delivered = self._stream_at = None

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
