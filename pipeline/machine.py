"""What this process may use of the machine."""

import contextlib
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def num_cores() -> int:
    """Cores that this process may use: its affinity, within the quota of its control group."""
    allowed = len(os.sched_getaffinity(0))
    quota = _cgroup_quota()
    return allowed if quota is None else min(allowed, max(round(quota), 1))


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
