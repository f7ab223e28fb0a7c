"""The guard stops what has collapsed, lets pass what has not, and says so."""

from pathlib import Path

import pytest
import torch
from swiftsiam.model.method import ModelConfig, Output
from swiftsiam.model.simsiam import SimSiam, negative_cosine
from swiftsiam.model.statistics import normalized_std
from swiftsiam.train.checkpoint import list_checkpoints
from swiftsiam.train.collapse import CollapsedError, CollapseGuard

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
    guard = CollapseGuard(method, on_collapse="stop")
    assert guard.look(COLLAPSED) is None
    with pytest.raises(CollapsedError, match="projections of all pictures become one"):
        guard.look(COLLAPSED)


def test_one_alone_does_not(method: SimSiam) -> None:
    guard = CollapseGuard(method, on_collapse="stop")
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
    guard = CollapseGuard(method, on_collapse="stop")
    for _ in range(4):
        assert guard.look(figures) is None


def test_a_warning_comes_once(method: SimSiam) -> None:
    guard = CollapseGuard(method, on_collapse="warn")
    told = [guard.look(COLLAPSED) for _ in range(5)]
    assert [text is not None for text in told] == [False, True, False, False, False]
    assert str(told[1]).startswith("collapse: z_std 0.010")
    off = CollapseGuard(method, on_collapse="off")
    assert not any(off.look(COLLAPSED) for _ in range(5))


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
    done = here(*tiny(pictures, "run", "data.val_path=null", "run.checkpoint_every_s=0"))
    refused(done, "train.on_collapse=stop: collapsed by step 4: z_std 0.0", "stop-gradient")
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step000000003.pt"
    done = here(*tiny(pictures, "warned", "train.on_collapse=warn"))
    assert done.returncode == 0
    assert done.stdout.count("collapse: z_std 0.0") == 1
    assert read_learning(tmp_path / "warned")[-2]["z_std"] < 0.01
