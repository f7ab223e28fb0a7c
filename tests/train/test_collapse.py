"""The guard stops what has collapsed, lets pass what has not, and says so."""

from pathlib import Path

import pytest
import torch
from swiftsiam.model.method import ModelConfig, Output
from swiftsiam.model.simsiam import COLLAPSED_STD, SimSiam, negative_cosine
from swiftsiam.model.statistics import normalized_std
from swiftsiam.train.checkpoint import list_checkpoints
from swiftsiam.train.collapse import CollapsedError, CollapseGuard
from swiftsiam.train.lab.outcome import lone_picture_std

from .conftest import Cli, read_learning, refused, tiny

CONFIG = ModelConfig(
    backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=16, projection_dim=16
)
COLLAPSED = {"loss": -0.999, "z_std": 0.01}
HEALTHY = {"loss": -0.93, "z_std": 0.9}


@pytest.fixture(scope="module")
def method() -> SimSiam:
    return SimSiam(CONFIG)


def test_two_log_points_in_turn_stop_it(method: SimSiam) -> None:
    guard = CollapseGuard(method, on_collapse="stop", num_rows=16)
    assert guard.look(COLLAPSED) is None
    with pytest.raises(CollapsedError, match="projections of all pictures become one"):
        guard.look(COLLAPSED)


def test_one_alone_does_not(method: SimSiam) -> None:
    guard = CollapseGuard(method, on_collapse="stop", num_rows=16)
    for figures in (COLLAPSED, HEALTHY) * 3:
        assert guard.look(figures) is None


@pytest.mark.parametrize(
    "figures",
    [
        HEALTHY,
        {"loss": -0.999, "z_std": 0.9},  # a loss may come near -1 without it
        {"loss": -0.1, "z_std": 0.01},
        {"loss": -0.999},
    ],
)
def test_what_is_no_collapse_passes(method: SimSiam, figures: dict[str, float]) -> None:
    guard = CollapseGuard(method, on_collapse="stop", num_rows=16)
    for _ in range(4):
        assert guard.look(figures) is None


def test_a_warning_comes_once(method: SimSiam) -> None:
    guard = CollapseGuard(method, on_collapse="warn", num_rows=16)
    told = [guard.look(COLLAPSED) for _ in range(5)]
    assert [text is not None for text in told] == [False, True, False, False, False]
    assert str(told[1]).startswith("collapse: z_std 0.010")
    off = CollapseGuard(method, on_collapse="off", num_rows=16)
    assert not any(off.look(COLLAPSED) for _ in range(5))


@pytest.mark.parametrize("num_rows", [1, 2, 8, 14, 15, 16])
def test_of_few_pictures_nothing_is_told_of_collapse(method: SimSiam, num_rows: int) -> None:
    """Of up to 14 the limit lies below the floor that the projector's BatchNorm sets, and of one
    z_std is 0 whatever it has learnt.
    """
    guard = CollapseGuard(method, on_collapse="stop", num_rows=num_rows)
    if num_rows >= 16:
        assert lone_picture_std(num_rows) < COLLAPSED_STD
        assert guard.look(COLLAPSED) is None
        with pytest.raises(CollapsedError):
            guard.look(COLLAPSED)
        return
    told = [guard.look(COLLAPSED) for _ in range(4)]
    assert f"of {num_rows} pictures a process" in str(told[0])
    assert told[1:] == [None] * 3


def forward_collapsed(
    self: SimSiam, views: tuple[torch.Tensor, ...], labels: torch.Tensor
) -> Output:
    """What comes of it in the end: one projection for all pictures, but for a thousandth."""
    z1, z2 = (1 + 1e-3 * self.encode(view) for view in views)
    loss = negative_cosine(z1, z2)
    z_std = 0.5 * (normalized_std(z1.detach()) + normalized_std(z2.detach()))
    return Output(loss, {"z_std": z_std}, (z1.detach(), z2.detach()))


@pytest.mark.slow
def test_a_run_that_collapses_is_stopped_or_warned_of(
    pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimSiam, "forward", forward_collapsed)
    rows = ("train.batch_size=16", "train.epochs=4")  # 2 steps each
    done = here(*tiny(pictures, "run", "data.val_path=null", "run.checkpoint_every_s=0", *rows))
    refused(done, "train.on_collapse=stop: collapsed by step 4: z_std 0.0", "stop-gradient")
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step000000003.pt"
    done = here(*tiny(pictures, "warned", "train.on_collapse=warn", *rows))
    assert done.returncode == 0
    assert done.stdout.count("collapse: z_std 0.0") == 1
    assert read_learning(tmp_path / "warned")[-2]["z_std"] < 0.01
