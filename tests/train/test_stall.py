"""A disk that no longer answers ends the run by itself, in one line, and nothing is lost."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from swiftsiam.train.checkpoint import list_checkpoints
from swiftsiam.train.resume import read_run_config

from .conftest import TIMEOUT_S, refused, tiny

# Behind the first step no picture can be opened any more.
_HANGING = """
import os, sys
from pathlib import Path
from swiftsiam.pipeline.loader import Loader
from swiftsiam.train.step import TrainStep

init, step, loaders, limits, done = Loader.__init__, TrainStep.__call__, [], set(), []

def remember(self, **settings):
    init(self, **settings)
    loaders.append(self)
    limits.add(settings["stall_s"])

def hang(self, *views):
    step(self, *views)
    done.append(1)
    if len(done) > 1:
        return
    assert limits == {1000.0}, limits
    for path in Path("data/train").rglob("*.png"):
        path.unlink()
        os.mkfifo(path)
    loaders[0]._stall.limit_s = 0.2

if __name__ == "__main__":  # workers import this file
    Loader.__init__, TrainStep.__call__ = remember, hang
    from swiftsiam.__main__ import main
    sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.engine(name))
        for name in ("torchvision", "ffcv", "dali")
    ],
)
def test_a_disk_that_hangs_ends_the_run(engine: str, pictures: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    script = tmp_path / "hanging.py"
    script.write_text(_HANGING)
    arguments = tiny(data, "run", f"loader.engine={engine}", "data.num_workers=1")
    done = subprocess.run(
        [sys.executable, script, *arguments, "data.stall_s=1000"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    refused(done, "data.stall_s=0.2: ", " is at ", ".png", "--resume", code=1)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")
    resumed = read_run_config(tmp_path / "run", ["data.stall_s=600"])
    assert (resumed.config.data.stall_s, resumed.changes) == (600, ())
