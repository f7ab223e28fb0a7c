"""What this process may use of the machine."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def num_cores() -> int:
    """Cores that this process may use: its affinity, within the quota of its control group."""
    allowed = len(os.sched_getaffinity(0))
    quota = _cgroup_quota()
    return allowed if quota is None else min(allowed, max(round(quota), 1))


def divide_cores(parts: int) -> list[list[int]]:
    """Numbers of cores for processes that run beside each other.

    Args:
        parts: 1 to `num_cores()`.

    Returns:
        As many cores for each, none of them twice; what does not go round is left out.
    """
    count = num_cores() // parts
    cores = sorted(os.sched_getaffinity(0))
    step = len(cores) // parts  # under a quota there are more cores than may be used at a time
    return [cores[part * step : part * step + count] for part in range(parts)]


@contextlib.contextmanager
def on_cores(cores: list[int] | None) -> Iterator[None]:
    """Processes that this thread begins meanwhile keep to these cores; None: to all."""
    before = os.sched_getaffinity(0)
    if cores is not None:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cgroup_quota() -> float | None:
    """Cores' worth of time that a container may take (docker run --cpus), or None."""
    with contextlib.suppress(OSError, ValueError):  # version 2
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):  # version 1
        quota, period = (
            int((_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text())
            for name in ("quota", "period")
        )
        return quota / period if quota > 0 else None
    return None
