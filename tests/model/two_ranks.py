"""A script in two processes, ranks 0 and 1 of one group, that share the work."""

import runpy
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

TIMEOUT_S = 550


def run_two(script: Path, folder: Path, *told: str) -> list[Any]:
    """What each has left in `made-RANK.pt`.

    Args:
        script: called with the folder, the rank and what it is told, in the group of both.
        folder: of what it takes and leaves.
        told: further arguments.
    """
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(script), str(folder), str(rank), *told],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, said = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, said[-3000:]
    return [torch.load(folder / f"made-{rank}.pt", weights_only=False) for rank in range(2)]


def main() -> None:
    """One of the two."""
    del sys.argv[0]
    script, folder, rank = sys.argv[0], Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=500),
    )
    runpy.run_path(script, run_name="__main__")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
