"""A trained network to be evaluated, and pictures that are easy to tell apart."""

from pathlib import Path

import pytest

from ..conftest import TIMEOUT_S, start, tiny


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run folder of a narrow network after a few steps; nothing is written into it."""
    folder = tmp_path_factory.mktemp("trained")
    process = start([*tiny(pictures, "run"), "train.epochs=1", "train.precision=fp32"], folder)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return folder / "run"


def linear(run: Path, pictures: Path, out: str, *more: str) -> list[str]:
    """Arguments of a linear evaluation of 3 epochs of 5 steps, in float32."""
    settings = ["train.epochs=3", "train.batch_size=8", "train.log_every=2", "eval.every=1"]
    machine = ["train.num_threads=1", "train.precision=fp32", f"--out={out}"]
    data = [str(pictures / "train"), str(pictures / "val")]
    return ["linear", str(run), *data, *settings, *machine, *more]
