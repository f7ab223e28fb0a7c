"""The runs of a table are made: a process each, which can be killed and continued, and as many side
by side as there are seats.
"""

import fcntl
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import wait
from pathlib import Path

from ...pipeline.errors import MachineError
from ...pipeline.files import write_atomically
from ..config import to_yaml
from ..pretrain import EXIT_STOPPED
from ..signals import StoppedWaitingError, StopRequest
from ..terminal import format_seconds
from .plan import Plan
from .runs import LOGS, RECIPE, Wanted, list_wanted
from .seats import WHOLE, Seat, seated


def run_all(
    plan: Plan,
    folder: Path,
    *,
    seats: Sequence[Seat] = (WHOLE,),
    tell: Callable[[str], None],
    after_each: Callable[[], None],
) -> bool:
    """Run what is not done yet. True: to the end; False: stopped, after saving.

    A run that fails takes no others with it, unless it is the first of the table that ends.

    Args:
        plan: of the table.
        folder: where all of it lies.
        seats: of one run each.
        tell: progress, a line each.
        after_each: called when a run has ended.

    Raises:
        MachineError: runs failed otherwise than by diverging; told when all others are done.
    """
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECIPE, to_yaml(plan.config).encode())
    wanted = list_wanted(plan, folder)
    left = [each for each in wanted if not each.is_done]
    if len(left) < len(wanted):
        tell(f"{len(wanted) - len(left)} of {len(wanted)} runs are there already")
    times: list[float] = []
    failures: list[str] = []

    def tell_next() -> Iterator[Wanted]:
        for number, each in enumerate(left, start=1):
            ahead = _tell_ahead(times, (len(left) - number + 1) / len(seats))
            tell(f"run {number} of {len(left)}: {each.name} ({each.planned.row.what}){ahead}")
            yield each

    with StopRequest() as stop, closing(_run(tell_next(), folder, seats, stop)) as ended:
        for running in ended:
            if running.is_done:
                times.append(running.seconds)
                after_each()
            elif running.was_stopped or stop.asked:
                stop.asked = True  # one that was stopped alone stops all
            else:
                failures.append(running.describe_failure())
                if not times and len(left) == len(wanted):  # so will all others
                    raise MachineError(failures[0])
                tell(failures[-1])
        if stop.asked and not all(each.is_done for each in left):
            return False
    if failures:
        raise MachineError(
            f"{len(failures)} of {len(left)} runs failed, the others are done: "
            f"{'; '.join(failures)}; mend it, and the same command runs them again"
        )
    return True


def _tell_ahead(times: list[float], count: float) -> str:
    if not times:
        return ""
    return f", about {format_seconds(sum(times) / len(times) * count)} left"


def _run(
    waiting: Iterator[Wanted], folder: Path, seats: Sequence[Seat], stop: StopRequest
) -> Generator["_Running", None, None]:
    """Each as it ends. A stop lets all that go on save, and begins no others; so does a `close`."""
    free, going = list(seats), list[_Running]()
    try:
        while True:
            while free and not stop.asked and (each := next(waiting, None)) is not None:
                going.append(_Running(each, folder, free.pop(0)))
            if not going:
                return
            for running in _wait(going, stop):
                running.wait()
                going.remove(running)
                free.append(running.seat)
                yield running
    except KeyboardInterrupt:  # asked twice
        for running in going:
            running.process.kill()
        raise
    finally:
        _stop(going)
        for running in going:
            running.wait()


def _wait(going: Sequence["_Running"], stop: StopRequest) -> list["_Running"]:
    """Those that have ended, or are told to."""
    try:
        with stop.waiting():
            if stop.asked:  # before there was anything to wait for
                raise StoppedWaitingError
            ended = wait([running.handle.fileno() for running in going])
            return [running for running in going if running.handle.fileno() in ended]
    except StoppedWaitingError:
        _stop(going)
        return [*going]


def _stop(going: Iterable["_Running"]) -> None:
    """After saving."""
    for running in going:
        running.process.terminate()


class _Running:
    """A process of `swiftsiam pretrain`, which begins a run or goes on with it."""

    def __init__(self, each: Wanted, folder: Path, seat: Seat) -> None:
        self.seat = seat
        self._each = each
        self._log = folder / LOGS / f"{each.name}.log"
        self._begun = time.monotonic()
        theirs, ours = (io.FileIO(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
        with open(self._log, "ab") as output, seated(seat), theirs:
            # A session of its own: a Ctrl-C of the terminal reaches it once, through us.
            self.process = subprocess.Popen(
                _command(each, folder),
                stdin=theirs,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"COLUMNS": "200"},
            )
            _stop_at_end_of(theirs, self.process.pid)
        self._ours = ours
        self.handle = io.FileIO(os.pidfd_open(self.process.pid))
        """Can be read from when it has ended."""
        self.seconds = 0.0
        """That it took."""

    def wait(self) -> None:
        """For its end."""
        self.process.wait()
        self.seconds = time.monotonic() - self._begun
        self.handle.close()
        self._ours.close()

    @property
    def is_done(self) -> bool:
        return self.process.returncode == 0 or self._each.has_diverged

    @property
    def was_stopped(self) -> bool:
        return self.process.returncode == EXIT_STOPPED

    def describe_failure(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "without a word")
        return (
            f"{self._each.name}: failed with exit code {self.process.returncode}: {last} "
            f"(all of it: {self._log})"
        )


def _stop_at_end_of(pipe: io.FileIO, pid: int) -> None:
    """The system sends it a signal when nobody can write any more: we were killed, say."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, pid)
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _command(each: Wanted, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "swiftsiam", "pretrain"),
        *("--config", str(folder / RECIPE), "--resume", str(each.path)),
        *each.overrides,
    ]
