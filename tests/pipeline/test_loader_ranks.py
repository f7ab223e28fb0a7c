"""Two processes share an epoch: together they are given what one is given alone, to the bit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .rank import BATCH_SIZE, BROKEN_OFF, Record, Row, record

pytestmark = pytest.mark.slow

TIMEOUT_S = 300
"""Of two processes that should end by themselves: no promise, only the end of a hang."""

WORLD_SIZE = 2


def run_ranks(engine: str, pictures: Path, folder: Path) -> list[Record]:
    """What each rank is given, each in a process of its own, all of them at the same time."""
    files = [folder / f"rank{rank}.pt" for rank in range(WORLD_SIZE)]
    script = str(Path(__file__).with_name("rank.py"))
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(WORLD_SIZE), engine, pictures, file],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [torch.load(file, weights_only=True) for file in files]


def joined(shares: tuple[Row, ...]) -> Row:
    """One global batch of its shares, in the order of the ranks, without padding."""
    whole = {name: torch.cat([share[name] for share in shares]) for name in shares[0]}
    return {name: column[whole["index"] >= 0] for name, column in whole.items()}


def assert_equal(batches: list[Row], wanted: list[Row]) -> None:
    """Indices, labels and pixels, to the bit."""
    assert len(batches) == len(wanted)
    for batch, other in zip(batches, wanted, strict=True):
        assert batch.keys() == other.keys()
        for name, column in batch.items():
            assert torch.equal(column, other[name]), name


def test_two_processes_share_an_epoch_exactly(
    engine: str, class_folder: Path, tmp_path: Path
) -> None:
    ranks = run_ranks(engine, class_folder, tmp_path)
    alone = record(0, 1, engine, class_folder)
    per_epoch = 23 // BATCH_SIZE
    assert len(alone["train"]) == 2 * per_epoch

    for part in ("train", "rest", "evaluation"):
        shares = list(zip(*(rank[part] for rank in ranks), strict=True))
        for pair in shares:
            assert {len(share["index"]) for share in pair} == {BATCH_SIZE // WORLD_SIZE}
        assert_equal([joined(pair) for pair in shares], alone[part])

    place = {"epoch": 1, "position": BROKEN_OFF * BATCH_SIZE}
    assert [rank["place"] for rank in ranks] == [place] * WORLD_SIZE
    for each in (alone, *ranks):
        assert_equal(each["rest"], each["train"][per_epoch + BROKEN_OFF :])

    indices = torch.cat([batch["index"] for batch in alone["evaluation"]])
    assert indices.tolist() == list(range(23))
    last = ranks[-1]["evaluation"][-1]
    assert (last["index"].tolist(), last["label"][1]) == ([22, -1], -1)
