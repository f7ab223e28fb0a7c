"""Several processes under torchrun write what one writes; an error of one is told once by all."""

import subprocess
import sys
from pathlib import Path

import pytest

from .test_convert import digests

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
COMMAND = ["-m", "swiftsiam", "convert"]


def convert(count: int, source: Path, target: Path, to: str) -> subprocess.CompletedProcess[str]:
    options = ["--to", to, "--workers=1", "--shard-size=1"]
    return subprocess.run(
        [*TORCHRUN, str(count), *COMMAND, str(source), str(target), *options],
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.parametrize("to", ["beton", "recordio"])
def test_two_ranks_write_what_one_writes(
    kinds_folder: Path, tmp_path: Path, to: str, convert_to
) -> None:
    name = "x.beton" if to == "beton" else "x"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    convert_to(kinds_folder, tmp_path / "one" / name, to, shard_size=1_000_000)
    done = convert(2, kinds_folder, tmp_path / "two" / name, to)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "two" / name) == digests(tmp_path / "one" / name)
    assert done.stdout.count("done: ") == 1


def test_a_mistake_is_told_by_all_and_nobody_waits(kinds_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    done = convert(2, kinds_folder, tmp_path / "x", "tfrecord")
    assert done.returncode != 0
    assert "exists already; remove it, or name another" in done.stderr
