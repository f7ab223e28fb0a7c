"""The runs of a table, one process after the other, each of which can be killed and continued."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import MachineError
from ...pipeline.files import write_atomically
from ..config import to_yaml
from ..divergence import NAME as DIVERGED
from ..pretrain import EXIT_STOPPED
from ..run import SUMMARY
from ..signals import StoppedWaitingError, StopRequest
from ..terminal import format_seconds
from .plan import Plan, Planned

RUNS, RECIPE, LOGS = "runs", "recipe.yaml", "logs"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One row with one seed."""

    planned: Planned
    seed: int
    path: Path
    """Of its run folder."""
    is_first: bool
    """Whether kNN before training is measured as well, of which one run is enough."""

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end, if only by losing its finite numbers."""
        return (self.path / SUMMARY).exists() or self.has_diverged

    @property
    def has_diverged(self) -> bool:
        """Whether its loss or a gradient was not finite."""
        return (self.path / DIVERGED).exists()

    @property
    def overrides(self) -> list[str]:
        """Of `swiftsiam pretrain`, over the recipe."""
        floors = ["eval.floors=true"] if self.is_first else []
        return [*self.planned.overrides, f"train.seed={self.seed}", *floors]


def list_wanted(plan: Plan, folder: Path) -> list[Wanted]:
    """All rows with the first seed, then with the next: a table is whole as early as can be."""
    return [
        Wanted(
            planned=planned,
            seed=seed,
            path=folder / RUNS / f"{planned.row.name}-s{seed}",
            is_first=seed == 0 and planned is plan.rows[0],
        )
        for seed in range(plan.seeds)
        for planned in plan.rows
    ]


def run_all(
    plan: Plan, folder: Path, *, tell: Callable[[str], None], after_each: Callable[[], None]
) -> bool:
    """Run what is not done yet. True: to the end; False: stopped by a signal, after saving.

    A run that fails takes no others with it, unless it is the first.

    Args:
        plan: of the table.
        folder: where all of it lies.
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
    with StopRequest() as stop:
        for number, each in enumerate(left, start=1):
            ahead = _tell_ahead(times, len(left) - number + 1)
            tell(f"run {number} of {len(left)}: {each.path.name} ({each.planned.row.what}){ahead}")
            begun = time.monotonic()
            try:
                if stop.asked or not _run(each, folder, stop):
                    return False
            except MachineError as error:
                if not times:
                    raise
                failures.append(str(error))
                tell(failures[-1])
                continue
            times.append(time.monotonic() - begun)
            after_each()
    if failures:
        raise MachineError(
            f"{len(failures)} of {len(left)} runs failed, the others are done: "
            f"{'; '.join(failures)}; mend it, and the same command runs them again"
        )
    return True


def _tell_ahead(times: list[float], count: int) -> str:
    if not times:
        return ""
    return f", about {format_seconds(sum(times) / len(times) * count)} left"


def _run(each: Wanted, folder: Path, stop: StopRequest) -> bool:
    """True: it is done; False: it was stopped."""
    command = [
        *(sys.executable, "-m", "swiftsiam", "pretrain"),
        *("--config", str(folder / RECIPE), "--resume", str(each.path)),
        *each.overrides,
    ]
    log = folder / LOGS / f"{each.path.name}.log"
    with open(log, "ab") as output:
        # A session of its own: a Ctrl-C of the terminal reaches it once, through us.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        try:
            with stop.waiting():
                if stop.asked:  # before there was anything to wait for
                    raise StoppedWaitingError
                code = process.wait()
        except StoppedWaitingError:
            code = None
        except BaseException:
            process.kill()
            raise
        if code is None:
            process.terminate()
            code = process.wait()
    if code == 0 or each.has_diverged:
        return True
    if code == EXIT_STOPPED or stop.asked:
        return False
    last = _last_line(log)
    raise MachineError(f"{each.path.name}: failed with exit code {code}: {last} (all of it: {log})")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "without a word")
