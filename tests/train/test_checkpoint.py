"""Checkpoints are whole, checked, or named."""

import hashlib
import io
import os
import pickle
import zipfile
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
    state = load_newest(tmp_path, tell=pytest.fail)
    assert state is not None
    assert state["step"] == 15
    assert torch.equal(state["w"], torch.full((3,), 15))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damaged_one_is_named_and_passed_over(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 5)
    path = save(tmp_path, 10)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flip": content, "truncate": content[:-20], "empty": b""}[damage])
    told: list[str] = []
    state = load_newest(tmp_path, tell=told.append)
    assert state is not None
    assert state["step"] == 5
    assert ["step000000010.pt" in text for text in told] == [True]
    with pytest.raises(UserError, match="step000000010"):
        load_checkpoint(path.with_name(f"{path.name}.damaged"))
    # It is set aside: it neither counts among those that are kept, nor is it deleted for them.
    assert not path.exists()
    save(tmp_path, 7)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step000000005.pt", "step000000007.pt"]


def test_anybody_can_read_one(tmp_path: Path) -> None:
    path = save(tmp_path, 5)
    for mmap in (False, True):
        state = torch.load(path, weights_only=True, mmap=mmap)
        assert state["step"] == 5
        assert torch.equal(state["w"], torch.full((3,), 5))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_no_flipped_bit_passes(tmp_path: Path) -> None:
    path = save(tmp_path, 5)
    content = path.read_bytes()
    for place in (*range(0, len(content), 97), *range(len(content) - 130, len(content))):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint(path)


def test_one_of_version_0_1_0_can_be_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"step": 3}, buffer)
    payload = buffer.getvalue()
    path = tmp_path / "step000000003.pt"
    header = b"swiftsiam checkpoint 1\n" + hashlib.sha256(payload).digest()
    path.write_bytes(header + payload)
    assert load_checkpoint(path) == {"step": 3}
    path.write_bytes(header + payload[:-1])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


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
