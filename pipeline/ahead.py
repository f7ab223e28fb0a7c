"""Requests drawn by a thread of its own, well ahead of the batches that they ask for.

The first request of an epoch sorts the epoch's order: 0.25 s for 1.28 million pictures, which is
more than the batches that lie ready last for. Requests are small, so many of them can lie ready.
"""

import threading
from collections import deque
from collections.abc import Iterator

from .contract import Request
from .priority import lower_priority


class RequestsAhead:
    """An iterator over requests. What they raise is raised behind those that came before."""

    def __init__(self, requests: Iterator[Request], *, count: int) -> None:
        """
        Args:
            requests: drawn by the thread alone.
            count: that lie ready, at most.
        """
        self._requests = requests
        self._count = count
        self._changed = threading.Condition()
        self._drawn: deque[Request] = deque()
        self._error: BaseException | None = None
        self._ended = False
        # A daemon: an interpreter that ends without `stop` must not wait for it.
        self._thread = threading.Thread(target=self._work, name="swiftsiam-requests", daemon=True)
        self._thread.start()

    def __iter__(self) -> "RequestsAhead":
        return self

    def __next__(self) -> Request:
        with self._changed:
            self._changed.wait_for(lambda: self._drawn or self._ended)
            if not self._drawn:
                raise self._error or StopIteration
            request = self._drawn.popleft()
            if len(self._drawn) == self._count // 2:  # not woken for each
                self._changed.notify_all()
            return request

    def stop(self, timeout_s: float) -> None:
        """Stop and join the thread, which ends with the request in hand."""
        with self._changed:
            self._ended = True
            self._drawn.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            lower_priority()
            for request in self._requests:
                if not self._put(request):
                    return
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, request: Request) -> bool:
        """Add a request, and wait until there is room for more; False: stop."""
        with self._changed:
            if self._ended:
                return False
            self._drawn.append(request)
            self._changed.notify_all()
            if len(self._drawn) >= self._count:
                self._changed.wait_for(lambda: len(self._drawn) <= self._count // 2 or self._ended)
            return not self._ended
