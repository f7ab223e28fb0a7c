"""Small runs as a user starts them: as processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

TIMEOUT_S = 500
"""Of a process that should end by itself: no promise, only the end of a hang."""

# A network and views small enough that a run takes seconds; everything else is the real thing.
TINY = [
    "--config=cifar10-cpu",
    "augment.size=16",
    "model.projector_hidden=32",
    "model.projection_dim=32",
    "train.num_threads=1",
    "train.log_every=2",
    "train.batch_size=8",
    "eval.k=3",
    "eval.floors=false",
]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with two classes each: 40 and 12 pictures of 24 px."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 6)):
        for label, name in enumerate(("dark", "light")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                low = 120 * label
                pixels = generator.integers(low, low + 120, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


TORCHRUN = ["-m", "torch.distributed.run", "--standalone"]


def start(
    arguments: list[str],
    cwd: Path,
    *,
    dies_at: str | None = None,
    ranks: int | None = None,
    restarts: int = 0,
    **options: Any,
) -> subprocess.Popen[str]:
    """`swiftsiam ARGUMENTS` as a process of its own, its output kept.

    Args:
        arguments: of the command line.
        cwd: its working folder.
        dies_at: "EVENT SIGNAL": it sends itself that signal at an event of `dying.py`; "… RANK" of
            several processes.
        ranks: so many processes, under torchrun.
        restarts: by torchrun; the signal comes once.
        options: of Popen.
    """
    program = ["-m", "swiftsiam"]
    environment = os.environ | {"COLUMNS": "200"}
    if dies_at is not None:
        event, name, *rank = dies_at.split(" ")
        program = [str(Path(__file__).with_name("dying.py")), event, name]
        environment |= {"DYING_RANK": rank[0]} if rank else {}
    if ranks is not None:
        program = [*TORCHRUN, f"--nproc-per-node={ranks}", f"--max-restarts={restarts}", *program]
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "Cli":
    """Run `swiftsiam` in this process: for what is refused, or ends at once."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        from swiftsiam.__main__ import _main

        monkeypatch.chdir(tmp_path)
        num_threads = torch.get_num_threads()
        capsys.readouterr()
        try:
            code = _main(list(arguments))
        finally:
            torch.set_num_threads(num_threads)
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 2) -> None:
    """It ended with this code, and one line that holds the words."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `swiftsiam` to its end in a folder of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        process = start(list(arguments), tmp_path)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run


def tiny(pictures: Path, run: str, *overrides: str) -> list[str]:
    """Arguments of a small run of 2 epochs of 5 steps."""
    data = [f"data.path={pictures / 'train'}", f"data.val_path={pictures / 'val'}"]
    return ["pretrain", *TINY, *data, f"run.dir={run}", "train.epochs=2", *overrides]


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the newest checkpoint."""
    from swiftsiam.train.checkpoint import load_newest

    state = load_newest(run / "checkpoints", tell=pytest.fail)
    assert state is not None
    return state["model"]


def read_learning(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock measured."""
    timed = {"images_per_s", "data_wait_percent", "memory_gb"}
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def assert_same_run(run: Path, other: Path) -> None:
    """Bit-identical weights and equal metrics."""
    weights, others = read_weights(run), read_weights(other)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
    assert read_learning(run) == read_learning(other)


@pytest.fixture
def stops_at_7(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run in this test asks itself to stop in its seventh step."""
    from swiftsiam.train.step import TrainStep

    plain, done = TrainStep.__call__, []

    def step(self: TrainStep, *views: torch.Tensor) -> None:
        plain(self, *views)
        done.append(1)
        if len(done) == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TrainStep, "__call__", step)
