"""How far it is: a bar on a terminal, a plain line now and then elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

_EVERY_S = 10.0


class Progress:
    """Of one pass over the pictures."""

    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._done = self._skipped = self._bytes = 0
        self._begun = self._told = time.monotonic()
        self._bar: Bar | None = None
        if console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}"),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(what, total=total, pace="")
            self._bar.start()

    def skip(self, count: int) -> None:
        """So many were done before."""
        self._skipped = self._done = count
        if self._bar:
            self._bar.update(self._task, completed=count)

    def advance(self, count: int, num_bytes: int) -> None:
        """So many more are done."""
        self._done += count
        self._bytes += num_bytes
        if self._bar:
            self._bar.update(self._task, completed=self._done, pace=self._pace())
            return
        now = time.monotonic()
        if now - self._told >= _EVERY_S and self._done < self._total:
            self._told = now
            left = (now - self._begun) / max(self._done - self._skipped, 1)
            left *= self._total - self._done
            self._console.print(
                f"{self._what} {self._done:,}/{self._total:,}  {self._pace()}  left {left:,.0f} s"
            )

    def _pace(self) -> str:
        seconds = max(time.monotonic() - self._begun, 1e-9)
        images = (self._done - self._skipped) / seconds
        digits = 0 if images >= 10 else 1
        return f"{images:,.{digits}f} {self._unit}/s  {self._bytes / 1e6 / seconds:,.0f} MB/s"

    def end(self) -> None:
        """Tell how fast it was."""
        if self._bar:
            self._bar.stop()
        if self._done > self._skipped:
            self._console.print(f"{self._what} {self._done:,}/{self._total:,}  {self._pace()}")


@contextlib.contextmanager
def show_progress(what: str, total: int, unit: str = "images") -> Iterator[Progress]:
    """On standard output."""
    progress = Progress(Console(highlight=False), what, total, unit)
    try:
        yield progress
    finally:
        progress.end()


class _Told(Protocol):
    """What the passes tell."""

    def skip(self, count: int) -> None: ...

    def advance(self, count: int, num_bytes: int) -> None: ...


class _Nothing:
    def skip(self, count: int) -> None:
        pass

    def advance(self, count: int, num_bytes: int) -> None:
        pass


@contextlib.contextmanager
def show_nothing(what: str, total: int) -> Iterator[_Nothing]:
    """Of a process among several, of which another one tells."""
    yield _Nothing()


ShowProgress = Callable[[str, int], contextlib.AbstractContextManager[_Told]]
"""(what is done, number of pictures) → how far it is."""
