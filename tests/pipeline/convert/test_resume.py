"""A conversion that is killed, or runs out of disk, goes on to the same bytes."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.convert import driver
from swiftsiam.pipeline.errors import MachineError, UserError

from .test_convert import digests

TIMEOUT_S = 500
OPTIONS = ["--workers=1", "--shard-size=1"]


def convert(source: Path, target: Path, to: str, *options: str, kill_at: int | None = None) -> int:
    """Exit code of the command; with `kill_at` it kills itself at that write."""
    program = ["-m", "swiftsiam", "convert"]
    if kill_at is not None:
        program = [str(Path(__file__).with_name("killed.py")), str(kill_at)]
    command = [sys.executable, *program, str(source), str(target), "--to", to, *OPTIONS, *options]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).returncode


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks and parts, so that there is something to go on with."""
    monkeypatch.setattr(driver, "CHUNK", 4)


@pytest.fixture
def target(tmp_path: Path, to: str) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / ("x.beton" if to == "beton" else "x")


@pytest.fixture
def undisturbed(
    kinds_folder: Path, tmp_path: Path, target: Path, to: str, convert_to: Callable
) -> dict[str, str]:
    """What the conversion gives without a kill."""
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole" / target.name
    convert_to(kinds_folder, whole, to, shard_size=1_000_000)
    return digests(whole)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.campaign)])
def test_killed_at_any_write_and_resumed(
    kinds_folder: Path, target: Path, to: str, undisturbed: dict[str, str], count: int
) -> None:
    """Killed and resumed until it comes to its end; the number of writes is what it takes."""
    generator = np.random.default_rng(count)
    num_killed = 0
    while num_killed < count:
        options = ["--resume"] if target.with_name(f"{target.name}.converting").exists() else []
        code = convert(kinds_folder, target, to, *options, kill_at=int(generator.integers(60)))
        if code == -signal.SIGKILL:
            num_killed += 1
        if target.exists():
            check_end(kinds_folder, target, to, undisturbed)
            for path in target.parent.iterdir():
                remove(path)
    if not target.exists():
        assert convert(kinds_folder, target, to, "--resume") == 0
        check_end(kinds_folder, target, to, undisturbed)


def check_end(source: Path, target: Path, to: str, expected: dict[str, str]) -> None:
    """All is there, as without a kill; what a kill after the last rename left, goes."""
    work = target.with_name(f"{target.name}.converting")
    assert digests(target) == expected
    if work.exists():
        assert convert(source, target, to, "--resume") == 2  # it is done already
        assert not work.exists()


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


class Killed(Exception):
    """In place of a kill, in this process."""


@pytest.fixture
def stopped_halfway(
    kinds_folder: Path,
    target: Path,
    to: str,
    convert_to: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A conversion that stopped after the first pass."""

    def stop(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(driver, "_write_all", stop)
        with pytest.raises(Killed):
            convert_to(kinds_folder, target, to)
    return target


def test_what_is_left_is_not_begun_anew_unasked(
    kinds_folder: Path, stopped_halfway: Path, to: str, convert_to: Callable
) -> None:
    with pytest.raises(UserError, match="continue it with --resume, or remove that folder"):
        convert_to(kinds_folder, stopped_halfway, to)
    convert_to(kinds_folder, stopped_halfway, to, resume=True)
    assert stopped_halfway.exists()


def test_nothing_is_done_twice(
    kinds_folder: Path,
    stopped_halfway: Path,
    to: str,
    convert_to: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "examine_chunk", None)
    convert_to(kinds_folder, stopped_halfway, to, resume=True)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, "seed was 0 .* is 1 now"),
        ({"shard_size": 5_000_000}, "shard_size was"),
        ({"quality": 50}, "quality was 95"),
    ],
)
def test_other_options_are_refused_on_resume(
    kinds_folder: Path,
    stopped_halfway: Path,
    to: str,
    convert_to: Callable,
    changed: dict[str, int],
    named: str,
) -> None:
    with pytest.raises(UserError, match=f"--resume: {named}"):
        convert_to(kinds_folder, stopped_halfway, to, resume=True, **changed)


def test_other_pictures_are_refused_on_resume(
    class_folder: Path, stopped_halfway: Path, to: str, convert_to: Callable
) -> None:
    with pytest.raises(UserError, match=r"--resume: pictures was 18 .* is 23 now"):
        convert_to(class_folder, stopped_halfway, to, resume=True)


def test_a_picture_that_changes_meanwhile_is_told(
    kinds_folder: Path,
    tmp_path: Path,
    to: str,
    convert_to: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Path(shutil.copytree(kinds_folder, tmp_path / "data"))
    make_files = driver.Workplace.make_files

    def change(self: driver.Workplace, *args: object) -> None:
        (source / "two/large.jpg").write_bytes(b"\xff\xd8 another")
        make_files(self, *args)

    monkeypatch.setattr(driver.Workplace, "make_files", change)
    with pytest.raises(UserError, match=r"two/large\.jpg: has changed while it was converted"):
        convert_to(source, tmp_path / ("x.beton" if to == "beton" else "x"), to)


def test_two_at_once_are_refused(
    kinds_folder: Path, stopped_halfway: Path, to: str, convert_to: Callable
) -> None:
    place = driver.Workplace(stopped_halfway)
    place._hold()
    with pytest.raises(UserError, match="another process is converting to it"):
        convert_to(kinds_folder, stopped_halfway, to, resume=True)
    place.close()


def test_too_little_room_is_told_before_writing(
    kinds_folder: Path, target: Path, to: str, convert_to: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 95, 5))
        with pytest.raises(UserError, match=r"are needed and 0\.0 MB are free; make room"):
            convert_to(kinds_folder, target, to)
    convert_to(kinds_folder, target, to, resume=True)
    assert target.exists()


def test_a_disk_that_fills_up_is_told_and_resumed(
    kinds_folder: Path,
    target: Path,
    to: str,
    undisturbed: dict[str, str],
    convert_to: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, left = os.pwritev, 9000

    def pwritev(file: int, pieces: list[bytes], at: int) -> int:
        """As a disk does with its last bytes: some are taken, and then none."""
        nonlocal left
        data = b"".join(pieces)[:left]
        if not data and any(map(len, pieces)):
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= len(data)
        return real(file, [data], at)

    def pwrite(file: int, data: bytes, at: int) -> int:
        return pwritev(file, [data], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", pwritev)
        patch.setattr(os, "pwrite", pwrite)
        with pytest.raises(MachineError, match="disk is full; make room, and continue with --res"):
            convert_to(kinds_folder, target, to, shard_size=1_000_000)
    assert not target.exists()
    convert_to(kinds_folder, target, to, shard_size=1_000_000, resume=True)
    assert digests(target) == undisturbed
