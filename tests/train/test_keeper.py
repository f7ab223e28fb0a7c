"""Checkpoints in the background: whole, of the step they name, and failures told."""

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from swiftsiam.pipeline.errors import MachineError
from swiftsiam.train import keeper as module
from swiftsiam.train.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from swiftsiam.train.config import RunConfig
from swiftsiam.train.keeper import BEST, Keeper
from swiftsiam.train.run import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def state(value: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full((3,), value)}, "groups": [{"lr": 0.1}], "step": 1}


def saved(run: RunFolder, name: str) -> float:
    return load_checkpoint(run.checkpoints / name)["model"]["weight"][0].item()


def test_a_checkpoint_is_of_its_step_whatever_comes_meanwhile(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written only once training has gone on."""
    went_on = threading.Event()

    def save_late(*arguments: Any, **options: Any) -> Path:
        assert went_on.wait(60)
        return save_checkpoint(*arguments, **options)

    monkeypatch.setattr(module, "save_checkpoint", save_late)
    keeper = Keeper(run, RunConfig())
    training = state(1.0)
    keeper.save(training, step=1)  # comes back at once
    assert not list_checkpoints(run.checkpoints)
    training["model"]["weight"] += 1
    went_on.set()
    keeper.wait()
    assert saved(run, "step000000001.pt") == 1.0


def test_the_newest_and_the_best_are_kept(run: RunFolder) -> None:
    keeper = Keeper(run, RunConfig(keep_checkpoints=2))
    for step, knn in enumerate((10.0, 60.0, None, 30.0, 20.0), start=1):
        keeper.save(state(float(step)), step=step, worth=knn)
    keeper.wait()
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert names == [BEST, "step000000004.pt", "step000000005.pt"]
    assert saved(run, BEST) == 2.0
    # A resumed run knows what was reached.
    for step, knn in ((2, 60.0), (4, 30.0)):
        run.log({"type": "knn", "step": step, "knn": knn})
    keeper = Keeper(run, RunConfig(keep_checkpoints=2))
    keeper.save(state(6.0), step=6, worth=50.0)
    keeper.wait()
    assert saved(run, BEST) == 2.0
    keeper.save(state(7.0), step=7, worth=61.0)
    keeper.wait()
    assert saved(run, BEST) == 7.0


def test_the_best_is_a_copy_where_there_are_no_links(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    keeper = Keeper(run, RunConfig())
    keeper.save(state(3.0), step=1, worth=1.0)
    keeper.wait()
    assert saved(run, BEST) == 3.0


def test_nothing_is_called_best_that_is_not_asked_for(run: RunFolder) -> None:
    keeper = Keeper(run, RunConfig(keep_best=False))
    keeper.save(state(1.0), step=1, worth=99.0)
    keeper.wait()
    assert not (run.checkpoints / BEST).exists()


def test_what_cannot_be_written_is_told_by_the_next_call(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = Keeper(run, RunConfig())
    keeper.check()
    with monkeypatch.context() as patched:
        patched.setattr(module, "save_checkpoint", full)
        keeper.save(state(1.0), step=8)
        keeper.close()
    with pytest.raises(MachineError, match="the checkpoint of step 8 could not be written"):
        keeper.check()
    keeper.save(state(1.0), step=9)  # told once, and there may be room again
    keeper.wait()
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step000000009.pt"]


def test_ranks_without_the_folder_write_nothing() -> None:
    keeper = Keeper(None, RunConfig())
    keeper.save(state(1.0), step=1, worth=1.0)
    keeper.wait()
