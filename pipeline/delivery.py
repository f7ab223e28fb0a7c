"""The way to the device: results in, batches out.

On a GPU everything here lies on a stream of its own, one batch ahead of the trainer: while a step
runs, the next batch is copied, and its crops are made into views. Nothing waits for the device but
the host that has come more than a step ahead of it. The same code runs on a CPU, where there is
nothing to order.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from .augment.gpu import make_views, pack_params
from .contract import BadSample, Batch, EngineOptions, Result
from .stages import COPY, REST, StageClock


@dataclass(frozen=True)
class Delivered:
    """A batch, and what its engine told of it."""

    batch: Batch
    index: np.ndarray
    """(B,) int64: of the result."""
    bad: list[BadSample]


class Lane(Protocol):
    """Where the delivery's work is ordered."""

    ahead: int
    """Batches made before they are asked for."""

    def working(self) -> contextlib.AbstractContextManager[object]:
        """What is launched within goes on this lane."""
        ...

    def adopt(self, blocks: Sequence[torch.Tensor], ready: Any) -> None:
        """Wait, on the device, for what an engine has left there; `ready`: see `Result`."""
        ...

    def mark(self) -> Any:
        """Something that is reached when all that was launched is done."""
        ...

    def keep_in_reach(self) -> None:
        """Called when the trainer asks: wait until the step before its last one is done."""
        ...

    def hand_over(self, tensors: Sequence[torch.Tensor], ready: Any) -> None:
        """Let the trainer's stream wait for `ready`, and keep the tensors' memory as long as it
        uses them.
        """
        ...

    def take_wait_s(self) -> float | None:
        """How long the device had nothing to do but wait for batches, since the last call; None
        where that is the host's own wait. Waits for nothing itself.
        """
        ...


class HostLane:
    """A CPU's: everything is done when it returns."""

    ahead = 0

    def working(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def adopt(self, blocks: Sequence[torch.Tensor], ready: Any) -> None:
        assert ready is None

    def mark(self) -> Any:
        return None

    def keep_in_reach(self) -> None:
        return None

    def hand_over(self, tensors: Sequence[torch.Tensor], ready: Any) -> None:
        return None

    def take_wait_s(self) -> float | None:
        return None


class CudaLane:
    """A stream beside the trainer's."""

    ahead = 1

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._steps: deque[torch.cuda.Event] = deque()
        self._asked: torch.cuda.Event | None = None
        """Behind the trainer's last step, until its next batch is handed over."""
        self._gaps: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._waited_ms = 0.0

    def working(self) -> contextlib.AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def adopt(self, blocks: Sequence[torch.Tensor], ready: Any) -> None:
        if ready is None:
            return
        self._stream.wait_event(ready)
        for block in blocks:
            block.record_stream(self._stream)

    def mark(self) -> Any:
        event = torch.cuda.Event()
        event.record(self._stream)
        return event

    def keep_in_reach(self) -> None:
        # A fast host would otherwise fill the memory with views. The thread sleeps meanwhile.
        step = torch.cuda.Event(enable_timing=True, blocking=True)
        step.record(torch.cuda.current_stream(self._device))
        self._steps.append(step)
        self._asked = step
        if len(self._steps) > 1:
            self._steps.popleft().synchronize()

    def hand_over(self, tensors: Sequence[torch.Tensor], ready: Any) -> None:
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(ready)
        for tensor in tensors:
            tensor.record_stream(stream)
        if self._asked is not None:
            # Not `ready`: a batch that has long been there may be handed over late, since the host
            # was kept by the one after it.
            begun = torch.cuda.Event(enable_timing=True)
            begun.record(stream)
            self._gaps.append((self._asked, begun))
            self._asked = None
        self._add_gaps()

    def take_wait_s(self) -> float | None:
        self._add_gaps()
        waited_s, self._waited_ms = self._waited_ms / 1000, 0.0
        return waited_s

    def _add_gaps(self) -> None:
        """Add up those that are over, so that few events are kept though nobody asks."""
        # The host, which runs ahead, waits while the device works. What is lost is the time from
        # the end of a step to where the next one may begin.
        while self._gaps and all(event.query() for event in self._gaps[0]):
            step, begun = self._gaps.popleft()
            self._waited_ms += max(step.elapsed_time(begun), 0.0)


def open_lane(device: torch.device) -> Lane:
    """The lane of a device."""
    return CudaLane(device) if device.type == "cuda" else HostLane()


class Delivery:
    """Makes batches on the device of results from an engine."""

    def __init__(
        self, options: EngineOptions, *, labels: torch.Tensor, lane: Lane | None = None
    ) -> None:
        """
        Args:
            options: of the engine.
            labels: (N + 1,) int64: of each sample; the last one is that of an empty row.
            lane: the device's, unless told otherwise.
        """
        self._options = options
        self._labels = labels
        self._lane = lane or open_lane(options.device)
        self._clock = StageClock(options.stages)

    def take_wait_s(self) -> float | None:
        """See `Lane.take_wait_s`."""
        return self._lane.take_wait_s()

    def deliver(self, results: Iterator[Result]) -> Iterator[Delivered]:
        """The batches, in order. What `results` raises comes behind those that were made before."""
        made: deque[tuple[Delivered, Any]] = deque()
        error: Exception | None = None
        while True:
            while error is None and len(made) <= self._lane.ahead:
                try:
                    made.append(self._make_next(results))
                except Exception as raised:  # the end of the results among them
                    error = raised
            if not made:
                if isinstance(error, StopIteration):
                    return
                assert error is not None
                raise error
            yield self._hand_over(*made.popleft())  # and keep nothing: it is the trainer's own
            self._lane.keep_in_reach()

    def _hand_over(self, delivered: Delivered, ready: Any) -> Delivered:
        batch = delivered.batch
        self._lane.hand_over((*batch.views, batch.label, batch.index), ready)
        return delivered

    def _make_next(self, results: Iterator[Result]) -> tuple[Delivered, Any]:
        with self._lane.working():  # for an engine that works on the device as well
            result = next(results)
            return self._make(result), self._lane.mark()

    def _make(self, result: Result) -> Delivered:
        device = self._options.device
        self._lane.adopt(result.pixels, result.ready)
        self._clock.lap(REST)
        blocks = tuple(block.to(device, non_blocking=True) for block in result.pixels)
        self._clock.lap(COPY)
        views = blocks if result.params is None else self._finish(blocks, result.params)
        index = torch.from_numpy(result.index)
        batch = Batch(
            views=views,
            label=self._labels[index].to(device, non_blocking=True),
            index=index.to(device, non_blocking=True),
        )
        return Delivered(batch, result.index, result.bad)

    def _finish(
        self, blocks: Sequence[torch.Tensor], params: np.ndarray
    ) -> tuple[torch.Tensor, ...]:
        """Views of crops: a call of the kernel for each block."""
        options = self._options
        parts: dict[int, torch.Tensor] = {}
        for crops, views in zip(blocks, options.blocks, strict=True):
            packed = pack_params(params[list(views)].reshape(-1))
            made = make_views(crops, packed, spec=options.specs[views[0]], dtype=options.dtype)
            parts.update(zip(views, made.chunk(len(views)), strict=True))
        return tuple(parts[view] for view in range(len(parts)))
