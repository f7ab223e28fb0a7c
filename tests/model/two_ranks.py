"""A script in two processes, ranks 0 and 1, that share the work."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

TIMEOUT_S = 550


def run_two(script: Path, folder: Path, *told: str) -> list[Any]:
    """What each has left in `made-RANK.pt`.

    Args:
        script: called with the folder, the rank and what it is told.
        folder: of what it takes and leaves.
        told: further arguments.
    """
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder), str(rank), *told],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, said[-3000:]
    return [torch.load(folder / f"made-{rank}.pt", weights_only=False) for rank in range(2)]
