"""Paths, whole files, locks, and file systems that lack something."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from swiftsiam.pipeline import files
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.files import (
    HeldElsewhereError,
    Lock,
    absolute,
    check_output,
    sync_folder,
    write_atomically,
)


@pytest.fixture(autouse=True)
def not_yet_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_warned", set())


def test_paths_mean_the_same_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert absolute("a/../b") == tmp_path / "b"
    assert absolute("~") == Path("/somewhere")
    assert absolute("~/x") == Path("/somewhere/x")
    assert absolute("./~/x") == tmp_path / "~" / "x"
    assert absolute(os.fsdecode(b"caf\xe9")) == tmp_path / os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "a\0b"])
def test_paths_that_cannot_be_are_refused(path: str) -> None:
    with pytest.raises(UserError, match=r"home folder|NUL"):
        absolute(path)


@pytest.mark.parametrize("address", ["s3://bucket/train", "https://host/data.tar", "hf://x"])
def test_addresses_are_no_paths(address: str) -> None:
    with pytest.raises(UserError, match="is an address, not a path"):
        absolute(address)


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert absolute("/data") == Path("/data")
    with pytest.raises(UserError, match="working folder is gone"):
        absolute("data")


def test_without_a_home_nothing_is_called_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is without one
    with pytest.raises(UserError, match="no such home folder"):
        absolute("~/data")


def test_a_lock_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ".lock"):
        with Lock(path), pytest.raises(HeldElsewhereError):
            Lock(path)
        Lock(path).release()


def test_death_gives_a_lock_back(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from swiftsiam.pipeline.files import Lock\n"
        "lock = Lock(Path(sys.argv[1]) / '.lock'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert done.returncode == -9
    Lock(tmp_path / ".lock").release()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_done_without_with_one_warning(
    tmp_path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def not_offered(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", not_offered)
    with Lock(tmp_path / ".lock"), Lock(tmp_path / ".lock"):
        pass
    assert capsys.readouterr().err.count("offers no locks") == 1


def test_another_failure_to_lock_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(files.fcntl, "flock", broken)
    with pytest.raises(OSError, match="broken disk"):
        Lock(tmp_path / ".lock")


def test_a_file_system_that_cannot_sync_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "Invalid argument")
        plain(handle)

    monkeypatch.setattr(files.os, "fsync", fsync)
    write_atomically(tmp_path / "a", b"1")
    sync_folder(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert capsys.readouterr().err.count("offers no fsync") == 1


def test_a_file_system_that_cannot_rename_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.exists():
            raise OSError(errno.EEXIST, "File exists")
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    for content in (b"1", b"2", b"3"):
        write_atomically(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
    assert capsys.readouterr().err.count("offers no renaming over") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_are_tried_beforehand_and_left_alone(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("kept")
    assert check_output(old, field="--json") == old
    assert check_output(tmp_path / "new.json", field="--json") == tmp_path / "new.json"
    assert [p.name for p in tmp_path.iterdir()] == ["old.json"]
    assert old.read_text() == "kept"
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "where", "does not exist"),
        (old / "below", "does not exist"),
        (Path("/proc/self/new.json"), "cannot be written"),
    ):
        with pytest.raises(UserError, match=rf"--json={path}: .*{words}"):
            check_output(path, field="--json")
