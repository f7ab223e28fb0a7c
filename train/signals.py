"""Stopping at a step's boundary when asked to."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class StoppedWaitingError(Exception):
    """A stop was asked for while there was nothing to do but wait."""


class StopRequest:
    """While entered, a signal to stop sets `asked`; a second SIGINT interrupts a process that is
    alone. One of several gets each Ctrl-C twice, of the terminal and of torchrun.

    A signal that whoever started us has us ignore stays ignored: `nohup` does so with SIGHUP, and a
    shell with SIGINT for what it runs in the background.
    """

    def __init__(self, *, is_alone: bool = True) -> None:
        """
        Args:
            is_alone: False: no wait may end before the others' does.
        """
        self.asked = False
        self._is_alone = is_alone
        self._is_waiting = False
        self._previous: dict[signal.Signals, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT and self._is_alone:
            raise KeyboardInterrupt
        self.asked = True
        if self._is_waiting:
            self._is_waiting = False
            raise StoppedWaitingError

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait that may be long, such as for a batch: a stop ends it.

        Raises:
            StoppedWaitingError: whatever was waited for may have come, and is lost.
        """
        self._is_waiting = self._is_alone
        try:
            yield
        finally:
            self._is_waiting = False

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # torchrun ends all with the first that ends, and others still have to speak. Ignored
        # and not handled: as it ends, Python gives signals that it handles back to the system.
        for number, handler in self._previous.items():
            signal.signal(number, handler if self._is_alone else signal.SIG_IGN)
