"""Whole runs through the door to the GPU, on a CPU that is taken for a machine with one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.placement import Machine

from .conftest import Cli, read_learning, read_weights, refused, tiny

pytestmark = pytest.mark.slow

GPU = Machine("cuda", has_kernel=True, cores_per_gpu=4.0, gpu_bytes=10**9)
ENGINE_NAMES = [
    pytest.param(name, marks=pytest.mark.engine(name))
    for name, info in ENGINES.items()
    if info.reads_pictures
]
# The crops' rounding to 8 bits moves a loss by some 1e-3; another seed by 3e-2 and more.
TOLERANCE = 1e-2

Losses = Callable[..., list[float]]


@pytest.fixture
def taken_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is asked of a machine is answered as a GPU's would; the device stays the CPU."""
    monkeypatch.setattr(Machine, "look", lambda device: GPU)


@pytest.fixture
def losses(class_folder: Path, here: Cli, tmp_path: Path) -> Losses:
    """(run, *overrides) → the loss of each step of two epochs of two."""

    def losses(run: str, *overrides: str) -> list[float]:
        data = [f"data.path={class_folder}", "data.val_path=null", "data.num_workers=1"]
        done = here(*tiny(class_folder, run, *data, "train.log_every=1", *overrides))
        assert done.returncode == 0, done.stderr
        records = [r for r in read_learning(tmp_path / run) if r["type"] == "train"]
        assert [record["step"] for record in records] == [1, 2, 3, 4]
        return [record["loss"] for record in records]

    return losses


@pytest.mark.usefixtures("taken_for_a_gpu")
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_every_engine_trains_through_the_door(losses: Losses, engine: str) -> None:
    on_cpu = losses("cpu", f"loader.engine={engine}", "loader.device=cpu")
    crops = losses("gpu", f"loader.engine={engine}", "loader.resident=off")
    assert crops == pytest.approx(on_cpu, abs=TOLERANCE, rel=0)
    assert crops != on_cpu


@pytest.mark.usefixtures("taken_for_a_gpu")
def test_pictures_that_lie_on_the_device(losses: Losses, tmp_path: Path) -> None:
    resident = losses("resident")
    on_cpu = losses("cpu", "loader.device=cpu")
    assert resident == pytest.approx(on_cpu, abs=TOLERANCE, rel=0)
    summary = json.loads((tmp_path / "resident" / "summary.json").read_text())
    assert summary["engine"] == "resident"
    kept = (tmp_path / "resident" / "config.yaml").read_text()
    assert "resident: 'on'" in kept
    assert "device: gpu" in kept
    assert "auto" not in kept


@pytest.mark.usefixtures("taken_for_a_gpu")
@pytest.mark.parametrize("resident", ["on", "off"])
def test_it_is_told_and_resume_is_exact(
    here: Cli, pictures: Path, tmp_path: Path, resident: str
) -> None:
    settings = [f"loader.resident={resident}", "loader.engine=torchvision", "data.num_workers=0"]
    whole = here(*tiny(pictures, "whole", *settings))
    assert whole.returncode == 0, whole.stderr
    told = "pictures lie there, asked for" if resident == "on" else "4 cores a GPU make about"
    assert f"made on the GPU ({told}" in whole.stderr + whole.stdout
    expected = read_weights(tmp_path / "whole")
    (last,) = (tmp_path / "whole" / "checkpoints").glob("*10.pt")
    last.unlink()
    part = read_weights(tmp_path / "whole")
    assert any(not torch.equal(part[name], expected[name]) for name in part)
    resumed = here("pretrain", "--resume", "whole")
    assert resumed.returncode == 0, resumed.stderr
    again = read_weights(tmp_path / "whole")
    assert all(torch.equal(expected[name], again[name]) for name in expected)


def test_a_run_of_a_gpu_goes_on_without_one(
    here: Cli, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Machine, "look", lambda device: GPU)
        begun = here(*tiny(pictures, "run"), "loader.resident=on", "data.num_workers=0")
        assert begun.returncode == 0, begun.stderr
    for path in Path("run/checkpoints").glob("*10.pt"):
        path.unlink()
    refused(here("pretrain", "--resume", "run"), "loader.resident=on: the step runs on the CPU")
    gone_on = here("pretrain", "--resume", "run", "loader.resident=off", "loader.device=cpu")
    assert gone_on.returncode == 0, gone_on.stderr
    assert "loader.device: gpu -> cpu" in gone_on.stderr + gone_on.stdout
