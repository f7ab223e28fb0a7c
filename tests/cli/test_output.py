"""Standard streams: what they cannot show, readers that go away, none at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import one_line

_PRINT = """
import os, sys
from swiftsiam.output import protect_streams
protect_streams()
"""


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"gr\xf6\xdfe \u2501 \udce9"),
        ("latin-1", b"gr\xf6\xdfe \\u2501 \\udce9"),
        ("utf-8:strict", "größe ━ ".encode() + rb"\udce9"),
    ],
)
def test_what_cannot_be_shown_is_replaced(encoding: str, expected: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT + r"print('gr\xf6\xdfe \u2501 \udce9'); sys.stdout.flush()"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == expected + b"\n"


def test_a_reader_that_goes_away_ends_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    program = (
        "for _ in range(100_000): print('line')\n"
        "sys.stdout.flush(); os.write(1, b'native'); print('went on', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", _PRINT + program], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"went on\n")


def test_a_closed_stream_is_never_another_file() -> None:
    program = (
        "print('lost', flush=True)\n"
        "print('lost', file=sys.stderr)\n"
        "handle = os.open(os.devnull, os.O_RDONLY); sys.exit(10 + handle)"
    )
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, _PRINT + program],
        check=False,
    )
    assert closed.returncode >= 13


def test_another_failure_to_write_is_raised() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", _PRINT + "print('x' * 100_000, flush=True)"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode != 0
    assert b"No space left" in done.stderr


def test_help_and_its_reader() -> None:
    command = f"{sys.executable} -m swiftsiam --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.stdout.splitlines() == [b"usage: swiftsiam COMMAND [arguments]", b"0"]
    assert done.stderr == b""


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"rmdir {tmp_path}/gone && exec {sys.executable} -m swiftsiam doctor"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path / "gone", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("swiftsiam doctor: the working folder is gone")


def test_a_name_cannot_steer_the_terminal() -> None:
    text = "a\x1b[31m\nb\x07 größe \udce9"
    assert one_line(text) == r"a\x1b[31m b\x07 größe " + "\udce9"


def test_a_folder_called_like_the_package_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "swiftsiam" / "pipeline").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "swiftsiam", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
