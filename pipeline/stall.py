"""A limit on each wait for a batch: a disk that no longer answers says nothing by itself.

The alarm is a timer of the process, whose signal ends a wait for a lock, a pipe or a file. It costs
a few microseconds a batch, where a thread that watches would have to be woken.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_FIRST = 5  # times the limit: workers start, and kernels are compiled
# A process that was suspended finds all rings of that time as one, and has the others left.
_RINGS = 10
_SHOWN = 4


class StalledError(BaseException):
    """Nothing has come. No `Exception`: whatever reads pictures takes those for a damaged one."""

    def __init__(self, waited_s: float) -> None:
        super().__init__(waited_s)
        self.waited_s = waited_s


class StallLimit:
    """Ends waits for batches that take too long.

    Only in the main thread, which alone gets signals, and only where nobody else uses the timer;
    elsewhere waits have no limit.
    """

    def __init__(self, limit_s: float | None) -> None:
        """
        Args:
            limit_s: of each wait; None: none.
        """
        self.limit_s = limit_s
        self._rings_left = 0

    def next(self, batches: Iterator[T], *, is_first: bool) -> T:
        """`next(batches)`; the first one of a stream may take five times as long.

        Raises:
            StalledError: it took too long, and whatever was waited for is lost.
        """
        if self.limit_s is None or not _is_free():
            return next(batches)
        previous = signal.getsignal(signal.SIGALRM)
        if previous is None:  # another library's, which could not be put back
            return next(batches)
        waited_s = self.limit_s * (_FIRST if is_first else 1)
        self._rings_left = _RINGS

        def ring(number: int, frame: FrameType | None) -> None:
            self._rings_left -= 1
            if self._rings_left == 0:
                raise StalledError(waited_s)

        try:
            signal.signal(signal.SIGALRM, ring)
            signal.setitimer(signal.ITIMER_REAL, waited_s / _RINGS, waited_s / _RINGS)
            return next(batches)
        finally:
            self._rings_left = 0  # a last ring on the way here is for nothing
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
            finally:
                signal.signal(signal.SIGALRM, previous)


def _is_free() -> bool:
    """Whether the timer is this thread's to use."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


def describe(whereabouts: Sequence[tuple[str, str]]) -> str:
    """(worker, sample) pairs in words."""
    told = [f"worker {name} is at {key}" for name, key in whereabouts[:_SHOWN]]
    left = len(whereabouts) - len(told)
    return ", ".join(told) + (f", and {left} more are at work" if left else "")
