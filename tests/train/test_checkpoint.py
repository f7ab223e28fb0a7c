"""Checkpoints are whole, checked, or named."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.checkpoint import (
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    load_newest,
    save_checkpoint,
)


def save(folder: Path, step: int, keep: int = 2) -> Path:
    return save_checkpoint(
        folder, {"step": step, "w": torch.full((3,), step)}, step=step, keep=keep
    )


def test_round_trip_and_newest(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save(tmp_path, step)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step000000010.pt", "step000000015.pt"]
    state = load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 15
    assert torch.equal(state["w"], torch.full((3,), 15))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damaged_one_is_named_and_passed_over(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, 5)
    path = save(tmp_path, 10)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flip": content, "truncate": content[:-20], "empty": b""}[damage])
    state = load_newest(tmp_path)
    assert state is not None
    assert state["step"] == 5
    assert "step000000010.pt" in capsys.readouterr().err
    with pytest.raises(UserError, match="step000000010"):
        load_checkpoint(path.with_name(f"{path.name}.damaged"))
    # It is set aside: it neither counts among those that are kept, nor is it deleted for them.
    assert not path.exists()
    save(tmp_path, 7)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step000000005.pt", "step000000007.pt"]


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    path = save_checkpoint(tmp_path, {"step": Malicious(trace)}, step=1, keep=1)
    with pytest.raises(UserError, match="refused"):
        load_checkpoint(path)
    bare = tmp_path / "bare.pt"
    bare.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(bare)
    assert not trace.exists()


def test_find_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a checkpoint nor a run folder"):
        find_checkpoint(tmp_path)
