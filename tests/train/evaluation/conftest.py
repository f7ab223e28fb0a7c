"""A trained network to be evaluated, and pictures that are easy to tell apart."""

from pathlib import Path
from typing import Any

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


def finish(arguments: list[str], cwd: Path, *, code: int = 0, **options: Any) -> str:
    process = start(arguments, cwd, **options)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code, err
    return out


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("linear")


@pytest.fixture(scope="session")
def probed(run: Path, pictures: Path, folder: Path) -> Path:
    """The reference's protocol, to its end."""
    told = finish(linear(run, pictures, "probed"), folder)
    assert "the paper has nothing to compare it with" in told
    return folder / "probed"
