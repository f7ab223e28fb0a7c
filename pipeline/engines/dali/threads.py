"""Threads that an interpreter which ends does not wait for: a read of a dead disk never returns."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

_JOIN_S = 2.0
_POLL_S = 0.2


class StoppedError(Exception):
    """The engine was closed in the middle of a batch."""


def result_unless(stopping: threading.Event, future: Future[T]) -> T:
    """Wait for the result; for that of a thread that hangs, no longer than until `stopping`.

    Raises:
        StoppedError: the wait was given up.
    """
    while not future.done():
        wait([future], timeout=_POLL_S)
        if stopping.is_set():
            raise StoppedError
    return future.result()


class DaemonThreads(Executor):
    """A `ThreadPoolExecutor` of daemons."""

    def __init__(self, count: int, *, name: str) -> None:
        """
        Args:
            count: of the threads, which start at once.
            name: of each, before its number.
        """
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._work = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._work.put((future, lambda: function(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads, but wait for none that hangs."""
        while cancel_futures and not self._work.empty():
            try:
                task = self._work.get_nowait()
            except queue.Empty:  # a thread was faster
                break
            if task is not None:
                task[0].cancel()
        for _ in self._threads:
            self._work.put(None)
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads if wait else ():
            thread.join(max(deadline - time.monotonic(), 0))

    def _run(self) -> None:
        while (task := self._work.get()) is not None:
            future, call = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # raised again where the result is asked for
                    future.set_exception(error)
            del task, future, call  # or an idle thread would keep a batch alive
