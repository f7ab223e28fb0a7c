"""Threads that make batches: each row once, batches in order, a bounded number of them ahead.

A batch is shared out in chunks of rows, so that all threads work on the oldest one and none waits
for the last chunk of it before it goes on to the next. Which thread makes a row changes nothing.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from ...contract import Request
from ...priority import lower_priority

_JOIN_S = 10.0


class Batch(Protocol):
    """What the threads fill."""

    def __len__(self) -> int:
        """Rows."""
        ...

    def at(self, start: int, stop: int) -> int:
        """Index of the sample in work, of those rows."""
        ...


BatchT = TypeVar("BatchT", bound=Batch)
MakeRows = Callable[[BatchT, int, int], None]
"""(batch, start, stop): make those rows."""


class _Task(Generic[BatchT]):
    """One batch on its way."""

    def __init__(self, batch: BatchT) -> None:
        self.batch = batch
        self.next_row = 0
        self.num_missing = len(batch)


class Crew(Generic[BatchT]):
    """Turns requests into batches. With no threads, the caller of `results` does the work.

    What is raised in a thread, or by the requests, is raised by `results`.
    """

    def __init__(
        self,
        requests: Iterator[Request],
        *,
        open_batch: Callable[[Request], BatchT],
        build_maker: Callable[[], MakeRows],
        num_threads: int,
        chunk: int,
        ahead: int,
    ) -> None:
        """
        Args:
            requests: drawn by the threads, one at a time.
            open_batch: makes the empty batch of a request.
            build_maker: called once in each thread, first of all; what it returns fills rows.
            num_threads: 0: none.
            chunk: rows that a thread makes at a time.
            ahead: batches under way or waiting to be fetched, at most.
        """
        self._requests = requests
        self._open_batch = open_batch
        self._build_maker = build_maker
        self._chunk = chunk
        self._ahead = ahead
        self._changed = threading.Condition()
        self._tasks: deque[_Task[BatchT]] = deque()
        self._drawing = False
        self._exhausted = False
        self._stopping = False
        self._error: BaseException | None = None
        self._taken: dict[str, tuple[_Task[BatchT], int, int]] = {}
        """By thread, the chunk in hand."""
        # Daemons: an interpreter that ends without `stop` must not wait for a disk that hangs.
        self._threads = [
            threading.Thread(target=self._work, name=f"swiftsiam-ffcv-{number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[BatchT]:
        """Finished batches, in the order of the requests."""
        make = None if self._threads else self._build_maker()
        while True:
            while make is not None and not self._is_ready():
                self._make_next(make)
            with self._changed:
                self._changed.wait_for(self._is_ready)
                if self._error is not None:
                    raise self._error
                if not self._tasks or self._stopping:
                    return
                batch = self._tasks.popleft().batch
                self._changed.notify_all()
            yield batch
            del batch  # the caller's own: not to be kept alive until the next one is ready

    def stop(self) -> None:
        """Stop and join the threads, which end with the chunk in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0))
        self._tasks.clear()
        self._taken.clear()

    def whereabouts(self) -> list[tuple[str, int]]:
        """See `contract.Engine`."""
        taken = self._taken.copy()  # at once, whatever the threads do meanwhile
        return [(name, task.batch.at(*rows)) for name, (task, *rows) in sorted(taken.items())]

    def _is_ready(self) -> bool:
        """Whether `results` has something to yield, to raise, or has come to its end."""
        if self._error is not None or self._stopping:
            return True
        return self._tasks[0].num_missing == 0 if self._tasks else self._exhausted

    def _work(self) -> None:
        try:
            lower_priority()
            make = self._build_maker()
            while self._make_next(make):
                pass
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._stopping = True
                self._changed.notify_all()

    def _make_next(self, make: MakeRows) -> bool:
        """Make one chunk; False at the end. A thread that waits for the next one holds no batch."""
        taken = self._take()
        if taken is None:
            return False
        task, start, stop = taken
        name = threading.current_thread().name
        self._taken[name] = taken
        make(task.batch, start, stop)
        with self._changed:
            self._taken.pop(name, None)
            task.num_missing -= stop - start
            if task.num_missing == 0:
                self._changed.notify_all()
        return True

    def _take(self) -> tuple[_Task[BatchT], int, int] | None:
        """The next chunk that nobody has begun; None at the end."""
        while True:
            with self._changed:
                self._changed.wait_for(self._need_not_wait)
                if self._stopping:
                    return None
                for task in self._tasks:
                    start = task.next_row
                    if start < len(task.batch):
                        task.next_row = min(start + self._chunk, len(task.batch))
                        return task, start, task.next_row
                if self._exhausted:
                    return None
                self._drawing = True
            self._draw()

    def _need_not_wait(self) -> bool:
        return self._may_take() or self._may_draw() or self._at_end()

    def _may_take(self) -> bool:
        return any(task.next_row < len(task.batch) for task in self._tasks)

    def _may_draw(self) -> bool:
        return not self._drawing and not self._exhausted and len(self._tasks) < self._ahead

    def _at_end(self) -> bool:
        return self._stopping or (self._exhausted and not self._may_take())

    def _draw(self) -> None:
        """Open the next batch. Without the lock: its memory takes a while to find."""
        request = next(self._requests, None)
        task = None if request is None else _Task(self._open_batch(request))
        with self._changed:
            if task is None:
                self._exhausted = True
            else:
                self._tasks.append(task)
            self._drawing = False
            self._changed.notify_all()
