"""Worker processes for work that is cut into tasks: results as they come, no hang, no orphans."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .errors import MachineError

Task = TypeVar("Task")
Done = TypeVar("Done")

_AHEAD = 2  # tasks that wait for each worker, so that none waits for a task


def run_tasks(
    function: Callable[[Task], Done],
    tasks: Iterable[Task],
    *,
    num_workers: int,
    prepare: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[Done]:
    """Results in the order in which they are done. Few tasks are under way at a time.

    Args:
        function: of a module, since it is called in other processes.
        tasks: each is sent to a worker.
        num_workers: 0 or 1: all is done in this process.
        prepare: called first, with `arguments`, in each process.
        arguments: sent to each worker once.

    Raises:
        MachineError: a worker was killed.
    """
    if num_workers <= 1:
        if prepare:
            prepare(*arguments)
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(
        num_workers, mp_context=context, initializer=_start, initargs=(prepare, arguments)
    )
    try:
        running: set[Future[Done]] = set()
        for task in tasks:
            running.add(pool.submit(function, task))
            if len(running) >= num_workers * _AHEAD:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool:
        raise MachineError(
            "a worker process was killed, by the system when memory runs out; take fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


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
