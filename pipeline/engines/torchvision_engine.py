"""The engine that needs nothing but torchvision: worker processes that read, decode and augment.

torch's DataLoader carries requests to workers and batches back, watches for dead workers, and
keeps the order. Its sampler is our stream of requests, which does not end with an epoch, so that
no epoch's first batch waits.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from multiprocessing.process import BaseProcess
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..augment.draw import warm_up
from ..contract import EngineOptions, Request, Result
from ..stages import COPY, REST, StageClock
from .parcels import Parcel, allocate_shared, allow_open_files, fits_shared_memory, pack
from .rows import RowMaker, Rows, allocate
from .workers import SharedPlaces, join_feeders, killing_the_hung, watch, worker_context

_AHEAD = 2  # batches under way for each worker
_MANY_WORKERS = 8  # of so many, one each is enough; all of them are pinned for a GPU


def build(options: EngineOptions) -> "TorchvisionEngine":
    """The engine for these options."""
    return TorchvisionEngine(options)


class TorchvisionEngine:
    """See the module; the contract is `contract.Engine`."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._iterator: Iterator[Any] | None = None
        self._places = SharedPlaces(options.num_workers, batch_size=options.batch_size)

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        num_workers = self._options.num_workers
        for spec in self._options.specs:
            # Compiled here once, so that the workers find it on disk and do not all compile it.
            warm_up(spec, dtype=self._options.pixel_dtype, ops=self._options.ops)
        ahead = _AHEAD if num_workers <= _MANY_WORKERS else 1
        num_batches = (ahead + 1) * num_workers + 2  # under way, and in the trainer's hands
        is_shared = False
        if num_workers:
            allow_open_files(num_workers=num_workers, num_batches=num_batches)
            is_shared = fits_shared_memory(self._options, num_batches=num_batches)
        loader = DataLoader(
            _RequestedBatches(self._options, self._places, is_shared=is_shared),
            sampler=_Requests(requests),
            batch_size=None,
            num_workers=num_workers,
            prefetch_factor=ahead if num_workers else None,
            multiprocessing_context=worker_context(__name__) if num_workers else None,
            collate_fn=_as_it_is,
            worker_init_fn=_give_way,
            pin_memory=self._options.device.type == "cuda",
        )
        self._iterator = iter(loader)
        return watch(self._iterator, _opened) if num_workers else self._iterator

    def whereabouts(self) -> list[tuple[str, int]]:
        pids = [worker.pid for worker in self._workers()] or [os.getpid()]
        return [(f"process {pids[worker]}", index) for worker, index in self._places.taken()]

    def _workers(self) -> list[BaseProcess]:
        return getattr(self._iterator, "_workers", [])

    def close(self) -> None:
        # Dropping the last reference to the iterator is how a DataLoader stops its workers.
        shutdown = getattr(self._iterator, "_shutdown_workers", None)
        if shutdown is not None:
            with killing_the_hung(self._workers()):
                shutdown()
            join_feeders(self._iterator)
        self._iterator = None


def _give_way(worker: int) -> None:
    """Let the trainer's threads go first: they wait for batches only when none is ready, and a
    thread that launches a GPU's work must never wait for a core.
    """
    os.nice(10)


def _opened(batch: Parcel | Result) -> Result:
    return batch if isinstance(batch, Result) else batch.open()  # those that were pinned are open


def _as_it_is(result: Any) -> Any:
    return result


class _Requests(Sampler[Request]):
    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[Request]:
        return self._requests


class _RequestedBatches(Dataset[Result | Parcel]):
    """Turns a request into a result, in whatever process the DataLoader runs it."""

    def __init__(self, options: EngineOptions, places: SharedPlaces, *, is_shared: bool) -> None:
        self._options = options
        self._places = places
        self._is_shared = is_shared
        self._maker: RowMaker | None = None
        self._allocate = allocate_shared if is_shared else allocate

    @cached_property
    def _clock(self) -> StageClock:  # one that is made before the worker starts cannot be sent
        return StageClock(self._options.stages)

    def __getitem__(self, request: Request) -> Result | Parcel:
        """The batch; a worker packs it for its way to the trainer."""
        info = get_worker_info()
        if info is None:
            return self._make(request, worker=0)
        if self._maker is None and self._options.stages is not None:
            self._options.stages.enter_worker(info.id)
        result = self._make(request, worker=info.id)
        self._clock.lap(REST)
        parcel = pack(result, is_shared=self._is_shared)
        self._clock.lap(COPY)
        return parcel

    def _make(self, request: Request, *, worker: int) -> Result:
        if self._maker is None:  # scratch and compiled code are the worker's own
            self._maker = RowMaker(self._options)
        rows = Rows(request, self._options, allocate=self._allocate)
        begun, rows.index = self._places.of_worker(worker, rows.index)
        for row in range(len(rows)):
            begun[0] = row + 1
            self._maker.decode_and_make(rows, row)
        begun[0] = 0
        return rows.result()
