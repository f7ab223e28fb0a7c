"""Whatever is killed of a conversion with workers: none stays, and it goes on to the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.files import Lock

from . import killed_workers
from .test_convert import digests

TIMEOUT_S = 300
PROGRAM = "import sys, killed_workers; sys.exit(killed_workers.main())"
NUM_KILLS = 50
WHERE = [(one, what) for what in ("worker", "parent", "group") for one in ("worker", "parent")]
"""Whose write is counted, and what is killed at it."""
MOST_WRITES = {"worker": 45, "parent": 25}
"""About as many as each does."""


class Conversion:
    """Run again and again until it comes to its end."""

    def __init__(self, source: Path, target: Path, to: str, notes: Path) -> None:
        self.target = target
        self.work = target.with_name(f"{target.name}.converting")
        self._notes = notes
        self._arguments = [str(source), str(target), "--to", to, "--workers=2", "--shard-size=1"]

    def run(self, kill_in: str = "", kill_what: str = "", kill_at: int = 0) -> bool:
        """Convert, or go on. Returns whether something was killed; nothing runs any more then."""
        killed, workers = self._notes / "killed", self._notes / "workers"
        killed.unlink(missing_ok=True)
        workers.write_text("")
        told = {"KILL_IN": kill_in, "KILL_WHAT": kill_what, "KILL_AT": kill_at, "KILLED": killed}
        told |= {"WORKERS": workers, "PYTHONPATH": Path(__file__).parent}
        resume = ["--resume"] if self.work.exists() else []
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *self._arguments, *resume],
            env=os.environ | {name: str(value) for name, value in told.items()},
            start_new_session=True,  # its group alone is killed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            # The workers and the server that forks them have the pipes too, which end with the
            # last of them.
            _, errors = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail(f"{kill_what} killed at write {kill_at} of {kill_in}: processes stay")
        if killed.exists():
            check_told(kill_what, process.returncode, errors)
        else:
            is_late = "exists already" in errors  # killed after the last rename, before
            assert process.returncode == (2 if is_late else 0), errors
            assert is_late or len(set(workers.read_text().split())) == 2
        if self.work.exists():
            Lock(self.work).release()  # which the dead have not kept
        return killed.exists()

    def check_end(self, expected: dict[str, str]) -> None:
        """All is there, as without a kill, and soon nothing else is."""
        if self.work.exists():
            self.run()
        assert digests(self.target) == expected
        assert not self.work.exists()


def check_told(killed: str, code: int, errors: str) -> None:
    """What a kill looks like from outside."""
    if killed == "worker":
        assert code == 1, (code, errors)
        assert errors.count("\n") == 1, errors
        assert "a worker was killed" in errors
    else:
        assert code == -signal.SIGKILL, (code, errors)


@pytest.fixture
def begin(
    kinds_folder: Path, tmp_path: Path, convert_to: Callable, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Conversion, dict[str, str]]]:
    """(format) → a conversion to it, and what comes of it without a kill, in one process."""

    def begin(to: str) -> tuple[Conversion, dict[str, str]]:
        (tmp_path / "whole").mkdir()
        (tmp_path / "out").mkdir()
        name = "x.beton" if to == "beton" else "x"
        with monkeypatch.context() as patch:
            for module, constant, value in killed_workers.SMALL:
                patch.setattr(module, constant, value)
            convert_to(kinds_folder, tmp_path / "whole" / name, to, shard_size=1_000_000)
        conversion = Conversion(kinds_folder, tmp_path / "out" / name, to, tmp_path)
        return conversion, digests(tmp_path / "whole" / name)

    return begin


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "kill_in", "kill_what", "kill_at"),
    [
        ("webdataset", "worker", "worker", 12),
        ("recordio", "worker", "parent", 20),
        ("beton", "parent", "group", 9),
    ],
)
def test_killed_once_and_resumed(
    begin: Callable, to: str, kill_in: str, kill_what: str, kill_at: int
) -> None:
    conversion, expected = begin(to)
    assert conversion.run(kill_in, kill_what, kill_at)
    assert not conversion.target.exists()
    assert not conversion.run()
    conversion.check_end(expected)


@pytest.mark.campaign
@pytest.mark.timeout(3000)
def test_killed_at_any_write_and_resumed(begin: Callable, to: str) -> None:
    """Again and again, in turn everything anywhere."""
    conversion, expected = begin(to)
    generator = np.random.default_rng(0)
    num_killed = 0
    while num_killed < NUM_KILLS:
        kill_in, kill_what = WHERE[num_killed % len(WHERE)]
        kill_at = int(generator.integers(MOST_WRITES[kill_in]))
        num_killed += conversion.run(kill_in, kill_what, kill_at)
        if conversion.target.exists():
            conversion.check_end(expected)
            shutil.rmtree(conversion.target.parent)
            conversion.target.parent.mkdir()
    conversion.run()
    conversion.check_end(expected)
