"""Runs around a backbone of torchvision or timm are evaluated and exported as others are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from swiftsiam import load_encoder
from swiftsiam.pipeline.errors import UserError
from torch import nn

from ..conftest import Cli, refused, start, tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("single_thread")]

NETWORKS = {
    "vit": "timm/test_vit",
    "convnext": "timm/test_convnext",
    "shufflenet": "torchvision/shufflenet_v2_x0_5",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run of each, at 32 px; the ViT's is made for 160."""
    folder = tmp_path_factory.mktemp("by-name")
    for run, name in NETWORKS.items():
        more = [f"model.backbone={name}", "augment.size=32", "train.epochs=1"]
        process = start(tiny(pictures, run, *more), folder)
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
    return folder


def assert_alike(network: nn.Module, run: Path) -> None:
    view = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.eval()(view), load_encoder(run).network(view))


@pytest.mark.parametrize("run", ["vit", "convnext"])
def test_timm_builds_its_own_from_a_file_and_from_the_hubs_folder(
    here: Cli, tmp_path: Path, runs: Path, run: str
) -> None:
    done = here("export", str(runs / run), "--to", "timm", "w.pt")
    assert done.returncode == 0, done.stderr
    load = done.stdout.strip().splitlines()[-1]
    assert load.startswith(f'model = timm.create_model("{NETWORKS[run].removeprefix("timm/")}"')
    told: dict[str, Any] = {"timm": timm}
    exec(load.replace('"w.pt"', repr(str(tmp_path / "w.pt"))), told)
    assert_alike(told["model"], runs / run)
    assert here("export", str(runs / run), "--to", "huggingface", "hub").returncode == 0
    network = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True)
    assert_alike(network, runs / run)
    assert_alike(load_encoder(tmp_path / "hub").network, runs / run)
    for layout in ("torchvision", "detectron2", "reference"):
        out = here("export", str(runs / run), "--to", layout, "other")
        refused(out, NETWORKS[run], "choose --to timm or --to huggingface")
    assert not (tmp_path / "other").exists()


def test_torchvision_takes_its_own(here: Cli, tmp_path: Path, runs: Path) -> None:
    run = runs / "shufflenet"
    assert here("export", str(run), "--to", "torchvision", "w.pt").returncode == 0
    network = torchvision.models.get_model("shufflenet_v2_x0_5")
    state = torch.load(tmp_path / "w.pt", weights_only=True)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert not unexpected
    network.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    assert_alike(network, run)
    assert here("export", str(run), "--to", "huggingface", "hub").returncode == 0
    assert_alike(load_encoder(tmp_path / "hub").network, run)
    refused(here("export", str(run), "--to", "timm", "t.pt"), "choose --to torchvision or")


@pytest.mark.parametrize("run", NETWORKS)
def test_they_are_evaluated(here: Cli, runs: Path, pictures: Path, run: str) -> None:
    train, val = str(pictures / "train"), str(pictures / "val")
    done = here("knn", str(runs / run), train, val, "--floors", "--json", "knn.json")
    assert done.returncode == 0, done.stderr
    done = here("linear", "--fast", str(runs / run), train, val, "train.num_threads=1")
    assert done.returncode == 0, done.stderr


def edited(run: Path, out: Path, name: str, other: str) -> Path:
    """A copy of a run that says another backbone."""
    shutil.copytree(run, out)
    config = (out / "config.yaml").read_text()
    assert f"backbone: {name}" in config
    (out / "config.yaml").write_text(config.replace(f"backbone: {name}", f"backbone: {other}"))
    return out


def test_weights_of_another_network_are_refused(here: Cli, tmp_path: Path, runs: Path) -> None:
    for other, words in (
        ("timm/test_convnext", "do not fit model.backbone=timm/test_convnext"),
        ("timm/test_vitt", "did you mean timm/test_vit"),
        ("resnet18", "its network is none of resnet18"),
    ):
        run = edited(runs / "vit", tmp_path / other.replace("/", "-"), "timm/test_vit", other)
        refused(here("export", str(run), "--to", "timm", "w.pt"), words)
    assert here("export", str(runs / "vit"), "--to", "huggingface", "hub").returncode == 0
    file = tmp_path / "hub" / "config.json"
    content = json.loads(file.read_text())
    content["swiftsiam"]["model"]["backbone"] = "timm/test_convnext"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"do not fit model\.backbone=timm/test_convnext"):
        load_encoder(tmp_path / "hub")


def test_views_that_do_not_fit_are_told_before_they_are_made(tmp_path: Path, runs: Path) -> None:
    """Of weights that others have given a size of 40 px, which is no multiple of the patch's 16."""
    run = tmp_path / "run"
    shutil.copytree(runs / "vit", run)
    config = (run / "config.yaml").read_text()
    assert "  size: 32\n" in config
    (run / "config.yaml").write_text(config.replace("  size: 32\n", "  size: 40\n"))
    with pytest.raises(UserError, match=r"augment\.size=40: model\.backbone=timm/test_vit"):
        load_encoder(run)
