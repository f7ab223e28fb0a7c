"""Wherever a run stops or is killed, it goes on to the same bits and the same samples."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from swiftsiam.train.step import TrainStep

from .conftest import TIMEOUT_S, Cli, assert_same_run, start, tiny

NUM_KILLS = 50


@pytest.fixture
def log_samples(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float]]:
    """(stops=…) → sums of the batches that are trained on from now on, one a step; the run asks
    itself to stop in those steps, counted over all runs.
    """
    plain = TrainStep.__call__

    def start_log(*, stops: tuple[int, ...] = ()) -> list[float]:
        seen: list[float] = []

        def step(self: TrainStep, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> None:
            plain(self, views, labels)
            seen.append(sum(view.double().sum().item() for view in views))
            if len(seen) in stops:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(TrainStep, "__call__", step)
        return seen

    return start_log


@pytest.mark.slow
@pytest.mark.parametrize(
    "stops",
    [
        (1,),  # behind the first step of the first epoch
        (4,),  # before its last
        (5,),  # at its end
        (6,),  # behind the first of the second
        (9,),  # before the last of all
        (2, 3),  # twice in a row
        (5, 6, 9),
    ],
    ids=str,
)
def test_a_run_stopped_anywhere_goes_on_to_the_same_bits(
    stops: tuple[int, ...],
    pictures: Path,
    here: Cli,
    tmp_path: Path,
    log_samples: Callable[..., list[float]],
) -> None:
    """Two epochs of five steps. What was killed before its first step begins anew: see
    `test_killed_anywhere_and_resumed_is_the_same_run`.
    """
    expected = log_samples()
    assert here(*tiny(pictures, "whole", "data.val_path=null")).returncode == 0
    seen = log_samples(stops=stops)
    assert here(*tiny(pictures, "run", "data.val_path=null")).returncode == 75
    for number in range(len(stops)):
        code = 75 if number + 1 < len(stops) else 0
        assert here("pretrain", "--resume", "run").returncode == code
    assert seen == expected
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.campaign
def test_a_run_killed_at_random_moments_goes_on_to_the_same_bits(
    pictures: Path, tmp_path: Path
) -> None:
    """SIGKILL at moments drawn over a process's whole life, start-up and saving included, until
    fifty have hit; some runs are killed several times. Figures: see `-s`.
    """
    arguments = [a for a in tiny(pictures, "whole", "train.epochs=12") if "run.dir" not in a]
    arguments += ["run.checkpoint_every_s=0", "eval.every=4"]
    generator = random.Random(0)
    begun = time.monotonic()
    whole = start([*arguments, "--resume", "whole"], tmp_path)
    _, err = whole.communicate(timeout=TIMEOUT_S)
    assert whole.returncode == 0, err
    life_s = time.monotonic() - begun
    num_kills, at_steps = 0, []
    for number in range(10 * NUM_KILLS):
        name = f"run{number}"
        num_kills += kill_and_resume(
            [*arguments, "--resume", name], tmp_path / name, life_s, generator, at_steps
        )
        assert_same_run(tmp_path / "whole", tmp_path / name)
        if num_kills >= NUM_KILLS:
            break
    print(f"{num_kills} kills in {number + 1} runs of 60 steps, behind steps {sorted(at_steps)}")
    assert num_kills >= NUM_KILLS


def kill_and_resume(
    arguments: list[str],
    run: Path,
    life_s: float,
    generator: random.Random,
    at_steps: list[int],
) -> int:
    """Start the run again and again until it comes to its end; returns how often it was killed."""
    num_kills = 0
    while True:
        process = start(arguments, run.parent)
        try:
            _, err = process.communicate(timeout=generator.uniform(0, 1.2 * life_s))
        except subprocess.TimeoutExpired:  # its moment has come
            process.kill()
            process.communicate()
            num_kills += 1
            at_steps.append(last_step(run))
            continue
        assert process.returncode == 0, err
        return num_kills


def last_step(run: Path) -> int:
    """Of the newest checkpoint that has its name."""
    names = [path.stem for path in (run / "checkpoints").glob("step*.pt")]
    return max((int(name.removeprefix("step")) for name in names), default=0)
