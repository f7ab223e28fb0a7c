"""What else the machine does while something is measured: core time that others take."""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from .results import Surroundings

MOST_OTHERS = 25.0
"""Percent of all cores: core time itself grows beside such neighbours (caches, sibling threads)."""
_REST_S, _IDLE_S = 0.25, 0.02  # the system counts in 0.01 s
_TICKS = 100  # a second, of /proc/stat, whatever the kernel's own clock
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns


class _Moment(NamedTuple):
    """Seconds."""

    now: float
    busy: float
    """Of all cores, in work or taken by the host."""
    own: float
    num_cores: int


class Neighbours:
    """Watches from its making on."""

    def __init__(self) -> None:
        self._begun = _look()

    def tell(self) -> Surroundings | None:
        """What others took since then; None where the system does not say."""
        begun, ended = self._begun, _look()
        if begun is None or ended is None or ended.now <= begun.now:
            return None
        others_s = (ended.busy - begun.busy) - (ended.own - begun.own)
        share = others_s / ((ended.now - begun.now) * ended.num_cores)
        return {"others_percent": round(100 * max(share, 0.0), 1)}


def core_s(process: psutil.Process) -> float:
    """Core seconds of a process and all that it has begun, also of those that have ended."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # its parent has them by now
            total += sum(each.cpu_times()[:4])
    return total


_orphaned_s = 0.0


def kill_tree(process: psutil.Process) -> None:
    """Kill a process and all that it has begun; their core time stays ours."""
    global _orphaned_s
    with contextlib.suppress(psutil.NoSuchProcess):
        others = process.children(recursive=True)
        # Its own time comes to us when it is waited for; that of its children comes to nobody.
        _orphaned_s += core_s(process) - sum(process.cpu_times()[:4])
        for each in (process, *others):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def settle(process: psutil.Process) -> float:
    """Wait until a process and all that it has begun are idle: queues are full. Returns their core
    seconds so far.
    """
    before = core_s(process)
    while True:
        time.sleep(_REST_S)
        after = core_s(process)
        if after - before < _IDLE_S:
            return after
        before = after


def _look() -> _Moment | None:
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return None
    ticks = [int(number) for number in lines[0].split()[1:]]
    if len(ticks) <= _STEAL:
        return None
    busy = sum(ticks[: _STEAL + 1]) - ticks[_IDLE] - ticks[_IOWAIT]
    return _Moment(
        now=time.monotonic(),
        busy=busy / _TICKS,
        own=core_s(psutil.Process()) + _orphaned_s,
        num_cores=sum(line.startswith("cpu") for line in lines) - 1,
    )
