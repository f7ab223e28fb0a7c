"""The engine changes the speed of a run and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.pipeline.engines import ENGINES

from .conftest import Cli, read_learning, tiny

pytestmark = pytest.mark.slow

REFERENCE = "torchvision"
OTHERS = [
    pytest.param(name, marks=pytest.mark.engine(name))
    for name, info in ENGINES.items()
    if info.reads_pictures and name != REFERENCE
]

# On plain JPEGs the views are equal to the bit, and so were the losses where this was measured. It
# is not asked for, since a convolution may add in another order where a batch lies at another
# address: noise of one unit in the last place of every pixel moves these losses by less than 1e-7.
# One pixel that is off by one grey level moves them by 2e-5, one mirrored picture by 3e-2. It is an
# absolute tolerance, since the losses are near 0.
TOLERANCE = 1e-6


@pytest.fixture
def losses(class_folder: Path, here: Cli, tmp_path: Path) -> Callable[..., list[float]]:
    """(engine, *overrides) → the loss of each step of two epochs of two."""

    def losses(engine: str, *overrides: str) -> list[float]:
        data = [f"data.path={class_folder}", "data.val_path=null", "data.num_workers=1"]
        settings = [*data, f"loader.engine={engine}", "train.log_every=1", *overrides]
        run = "-".join((engine, *overrides))
        done = here(*tiny(class_folder, run, *settings))
        assert done.returncode == 0, done.stderr
        records = [r for r in read_learning(tmp_path / run) if r["type"] == "train"]
        assert [record["step"] for record in records] == [1, 2, 3, 4]
        return [record["loss"] for record in records]

    return losses


@pytest.mark.parametrize("engine", OTHERS)
def test_same_seed_same_losses_on_every_engine(
    losses: Callable[..., list[float]], engine: str
) -> None:
    wanted = losses(REFERENCE)
    assert losses(engine) == pytest.approx(wanted, abs=TOLERANCE, rel=0)
    other_seed = losses(REFERENCE, "train.seed=1")
    assert min(abs(a - b) for a, b in zip(wanted, other_seed, strict=True)) > 1000 * TOLERANCE
