"""Several processes under torchrun train as one does, stop together and end together."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from swiftsiam.train.checkpoint import list_checkpoints

from .conftest import TIMEOUT_S, read_learning, start, tiny

pytestmark = pytest.mark.slow

# In float32 sums over two halves are rounded otherwise: seen 1e-7, and 1e-2 without sharing
# statistics.
TOLERANCE = 2e-5


def small(pictures: Path, run: str, *overrides: str) -> list[str]:
    """4 epochs of 5 steps of 8 pictures, in float32."""
    return tiny(pictures, run, "train.precision=fp32", "train.epochs=4", *overrides)


def finish(
    arguments: list[str], cwd: Path, *, ranks: int, restarts: int = 0, dies_at: str | None = None
) -> subprocess.CompletedProcess[str]:
    process = start(arguments, cwd, ranks=ranks, restarts=restarts, dies_at=dies_at)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def read(run: Path, kind: str, name: str) -> dict[int, Any]:
    """A figure by its steps."""
    return {r["step"]: r[name] for r in read_learning(run) if r["type"] == kind and name in r}


def losses(run: Path) -> dict[int, float]:
    return read(run, "train", "loss")


def differ(run: Path, other: Path) -> float:
    """The greatest difference of a loss."""
    one, two = losses(run), losses(other)
    assert one.keys() == two.keys()
    return max(abs(one[step] - two[step]) for step in one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def one(pictures: Path, folder: Path) -> Path:
    """A run of one process."""
    done = start(small(pictures, "one"), folder)
    _, err = done.communicate(timeout=TIMEOUT_S)
    assert done.returncode == 0, err
    return folder / "one"


@pytest.fixture(scope="module")
def two(pictures: Path, folder: Path) -> Path:
    """The same of two."""
    done = finish(small(pictures, "two"), folder, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 4/4  kNN") == 1  # told by one of them
    return folder / "two"


def test_two_learn_what_one_does(one: Path, two: Path) -> None:
    assert len(losses(one)) == 12
    assert differ(one, two) < TOLERANCE
    assert read(one, "knn", "knn") == read(two, "knn", "knn")
    ranks = read(one, "train", "effective_rank"), read(two, "train", "effective_rank")
    assert len(ranks[0]) == 4
    assert ranks[1] == pytest.approx(ranks[0], rel=1e-3)
    assert json.loads((two / "summary.json").read_text())["world_size"] == 2


def test_statistics_of_its_own_rows_alone_are_another_method(
    pictures: Path, folder: Path, one: Path
) -> None:
    done = finish(small(pictures, "apart", "train.sync_batch_norm=false"), folder, ranks=2)
    assert done.returncode == 0, done.stderr
    assert differ(one, folder / "apart") > 100 * TOLERANCE


def test_gradients_sent_in_bf16_learn_nearly_the_same(
    pictures: Path, folder: Path, one: Path
) -> None:
    done = finish(small(pictures, "short", "train.compress_gradients=bf16"), folder, ranks=2)
    assert done.returncode == 0, done.stderr
    assert TOLERANCE < differ(one, folder / "short") < 0.02


def test_a_signal_to_one_stops_all_which_two_or_one_resume(
    pictures: Path, folder: Path, one: Path
) -> None:
    done = finish(small(pictures, "stopped"), folder, ranks=2, dies_at="step:4 SIGTERM 1")
    run = folder / "stopped"
    assert done.returncode == 1  # torchrun's own, whatever the ranks' was
    assert done.stderr.count("exitcode  : 75") == 2, done.stderr
    resume = f"torchrun --nproc-per-node=2 -m swiftsiam pretrain --resume {run}"
    assert done.stdout.count(f"stopped after saving; continue with: {resume}\n") == 1
    assert (run / "exit_code").read_text() == "75\n"
    assert list_checkpoints(run / "checkpoints")[-1].name == "step000000005.pt"
    done = finish(["pretrain", "--resume", "stopped"], folder, ranks=2, dies_at="step:7 SIGTERM 0")
    assert done.stderr.count("exitcode  : 75") == 2, done.stderr
    assert list_checkpoints(run / "checkpoints")[-1].name == "step000000015.pt"
    done = finish(["pretrain", "--resume", "stopped"], folder, ranks=1)
    assert done.returncode == 0, done.stderr
    assert (run / "exit_code").read_text() == "0\n"
    assert "continues at step 15 of 20, in 1 processes (2 before)" in done.stdout
    assert differ(one, run) < TOLERANCE


def test_two_go_on_where_one_has_stopped_in_mid_epoch(
    pictures: Path, folder: Path, one: Path
) -> None:
    done = start(small(pictures, "grown"), folder, dies_at="step:7 SIGTERM")
    _, err = done.communicate(timeout=TIMEOUT_S)
    assert done.returncode == 75, err
    done = finish(["pretrain", "--resume", "grown"], folder, ranks=2)
    assert done.returncode == 0, done.stderr
    assert "continues at step 7 of 20, in 2 processes (1 before)" in done.stdout
    assert differ(one, folder / "grown") < TOLERANCE


def test_a_killed_rank_ends_all_and_torchrun_starts_them_again(
    pictures: Path, folder: Path, one: Path
) -> None:
    arguments = [a for a in small(pictures, "killed") if not a.startswith("run.dir")]
    arguments += ["--resume", "killed"]
    done = finish(arguments, folder, ranks=2, restarts=1, dies_at="step:8 SIGKILL 1")
    assert "swiftsiam pretrain: another of the 2 processes has ended" in done.stderr
    assert "continue with torchrun --nproc-per-node=2 -m swiftsiam pretrain" in done.stderr
    assert "continues at step 5 of 20\n" in done.stdout
    assert done.returncode == 0, done.stderr
    assert differ(one, folder / "killed") < TOLERANCE


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optim.base_lrr=1", "base_lrr"),
        ("train.batch_size=9", "must be a multiple of 2, the number of processes"),
        ("data.path=/nowhere", "/nowhere"),
    ],
)
def test_a_mistake_is_told_once_and_leaves_no_folder(
    pictures: Path, tmp_path: Path, override: str, told: str
) -> None:
    done = finish(small(pictures, "run", override), tmp_path, ranks=2)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("swiftsiam pretrain: ")]
    assert len(lines) == 1, done.stderr
    assert told in lines[0]
    _, _, cause = done.stderr.partition("Root Cause")
    assert "exitcode  : 2 " in cause  # torchrun may have ended the other one
    assert not list(tmp_path.iterdir())
