"""The engine that needs nothing but torchvision: worker processes that read, decode and augment.

torch's DataLoader carries requests to workers and batches back, watches for dead workers, and
keeps the order. Its sampler is our stream of requests, which does not end with an epoch, so that
no epoch's first batch waits. Workers start by forkserver: a fork would copy locks that other
threads of the trainer hold.
"""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..augment.cpu import as_pixels
from ..augment.draw import ViewMaker, build_view_maker, warm_up
from ..augment.sampler import PARAMS, draw_view, pack_spec
from ..contract import BadSample, EngineOptions, Request, Result
from ..decode import decode_rgb
from ..errors import BadSampleError

_AHEAD = 2  # batches under way for each worker


def build(options: EngineOptions) -> "TorchvisionEngine":
    """The engine for these options."""
    return TorchvisionEngine(options)


class TorchvisionEngine:
    """See the module; the contract is `contract.Engine`."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._iterator: Iterator[Result] | None = None

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        num_workers = self._options.num_workers
        for spec in self._options.specs:
            # Compiled here once, so that the workers find it on disk and do not all compile it.
            warm_up(spec, dtype=self._options.dtype, ops=self._options.ops)
        context = _worker_context() if num_workers else None
        loader = DataLoader(
            _RequestedBatches(self._options),
            sampler=_Requests(requests),
            batch_size=None,
            num_workers=num_workers,
            prefetch_factor=_AHEAD if num_workers else None,
            multiprocessing_context=context,
            collate_fn=_as_it_is,
            pin_memory=self._options.device.type == "cuda",
            worker_init_fn=_give_way if self._options.device.type == "cpu" else None,
        )
        self._iterator = iter(loader)
        return _watch(self._iterator) if num_workers else self._iterator

    def close(self) -> None:
        # Dropping the last reference to the iterator is how a DataLoader stops its workers.
        shutdown = getattr(self._iterator, "_shutdown_workers", None)
        if shutdown is not None:
            shutdown()
        self._iterator = None


def _watch(results: Iterator[Result]) -> Iterator[Result]:
    """Say what has happened when a worker dies between sending a batch and our opening it.

    The DataLoader notices a worker's death while it waits for a batch. But a batch is a handle to
    memory, which is asked of its worker when the handle has come.
    """
    workers: list[BaseProcess] = getattr(results, "_workers", [])
    try:
        yield from results
    except (OSError, EOFError) as error:
        dead = wait([worker.sentinel for worker in workers], timeout=1)
        if not dead:
            raise
        pids = [worker.pid for worker in workers if worker.sentinel in dead]
        raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly") from error


def _worker_context() -> BaseContext:
    context = multiprocessing.get_context("forkserver")
    # The server imports this once; each worker then starts in milliseconds instead of seconds.
    context.set_forkserver_preload([__name__])
    return context


def _give_way(worker: int) -> None:
    """Let the training step's threads go first: it waits for batches only when none is ready."""
    os.nice(10)


def _as_it_is(result: Any) -> Any:
    return result


class _Requests(Sampler[Request]):
    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[Request]:
        return self._requests


class _RequestedBatches(Dataset[Result]):
    """Turns a request into a result, in whatever process the DataLoader runs it."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._packed = [pack_spec(spec) for spec in options.specs]
        self._makers: list[ViewMaker] | None = None

    def __getitem__(self, request: Request) -> Result:
        options = self._options
        if self._makers is None:  # scratch and compiled code are the worker's own
            self._makers = [build_view_maker(spec, ops=options.ops) for spec in options.specs]
        count = len(request.indices)
        views = tuple(
            torch.empty((count, spec.size, spec.size, 3), dtype=options.dtype).permute(0, 3, 1, 2)
            for spec in options.specs
        )
        batches = [as_pixels(view) for view in views]
        params = np.zeros((len(views), count), PARAMS)
        index = request.indices.copy()
        bad: list[BadSample] = []
        for row, wanted in enumerate(request.indices):
            index[row], image = self._decode(int(wanted), bad)
            if image is None:
                for batch in batches:
                    batch[row] = 0
                continue
            for number, make in enumerate(self._makers):
                draw_view(
                    self._packed[number][0],
                    np.uint64(options.seed),
                    np.uint64(request.epoch),
                    index[row],
                    np.uint64(number),
                    image.shape[0],
                    image.shape[1],
                    params[number, row],
                )
                make(image, params[number], row, batches[number])
        return Result(views, index, bad)

    def _decode(self, wanted: int, bad: list[BadSample]) -> tuple[int, np.ndarray | None]:
        """The sample, or the next readable one in the listing, or nothing.

        More failures than the budget allows need no further tries: the loader ends the run on them.
        """
        options, source = self._options, self._options.source
        if wanted < 0:
            return -1, None
        tries = 1 if options.max_bad_samples is None else options.max_bad_samples + 1
        for step in range(min(tries, len(source))):
            index = (wanted + step) % len(source)
            try:
                return index, decode_rgb(source.read(index))
            except BadSampleError as error:
                bad.append(BadSample(index, source.key(index), str(error)))
        return -1, None
