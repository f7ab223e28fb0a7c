"""Worker processes for work that is cut into tasks: results as they come, no hang, no orphans."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from .errors import MachineError

Task = TypeVar("Task")
Done = TypeVar("Done")

_AHEAD = 2  # tasks that wait for each worker, so that none waits for a task


class Workers:
    """Processes that do tasks; with one worker all is done in this process."""

    def __init__(
        self,
        num_workers: int,
        *,
        prepare: Callable[..., None] | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> None:
        """
        Args:
            num_workers: 0 or 1: this process.
            prepare: called first, with `arguments`, in each process.
            arguments: sent to each worker once.
        """
        self._num_workers = num_workers
        self._pool: ProcessPoolExecutor | None = None
        if num_workers > 1:
            context = multiprocessing.get_context("forkserver")
            if prepare:  # its module is imported once, and the workers begin with it
                context.set_forkserver_preload([prepare.__module__])
            self._pool = ProcessPoolExecutor(
                num_workers, mp_context=context, initializer=_start, initargs=(prepare, arguments)
            )
        elif prepare:
            prepare(*arguments)

    def start(self, *, meanwhile: Callable[[], object]) -> None:
        """Have the processes at hand before there is work for them.

        Args:
            meanwhile: done in this process while they start.
        """
        count = self._num_workers
        with _telling_of_the_dead():
            starting = [self._pool.submit(_nothing, n) for n in range(count)] if self._pool else []
        meanwhile()
        wait(starting)

    def run(self, function: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """Results in the order in which they are done. Few tasks are under way at a time.

        Args:
            function: of a module, since it is called in other processes.
            tasks: each is sent to a worker.

        Raises:
            MachineError: a worker was killed.
        """
        if self._pool is None:
            yield from map(function, tasks)
            return
        with _telling_of_the_dead():
            running: set[Future[Done]] = set()
            for task in tasks:
                running.add(self._pool.submit(function, task))
                if len(running) >= self._num_workers * _AHEAD:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)

    def close(self) -> None:
        """Wait for what is under way, and end them."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_tasks(
    function: Callable[[Task], Done],
    tasks: Iterable[Task],
    *,
    num_workers: int,
    prepare: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Done]:
    """`Workers.run` with workers of its own."""
    with Workers(num_workers, prepare=prepare, arguments=arguments) as workers:
        yield from workers.run(function, tasks)


@contextmanager
def _telling_of_the_dead() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise MachineError(
            "a worker was killed, as the system does when memory runs out; take fewer workers"
        ) from None


def _nothing(task: int) -> None:
    pass


def _start(prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent acts
    _end_with_parent()
    if prepare:
        prepare(*arguments)


def _end_with_parent() -> None:
    """A worker whose parent was killed would otherwise wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
