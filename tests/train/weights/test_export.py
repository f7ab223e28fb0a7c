"""Exports of a run load in the libraries that they are for."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from swiftsiam import build_eval_spec, build_loader, load_encoder, open_source
from swiftsiam.pipeline.augment.spec import AugmentConfig
from torch import nn

from ..conftest import Cli, read_weights, refused, start, tiny

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """resnet18/ at 32 px, and narrow/ for small pictures: two runs of a few steps."""
    folder = tmp_path_factory.mktemp("runs")
    imagenet = ["model.backbone=resnet18", "augment.preset=imagenet", "augment.size=32"]
    for name, more in (("resnet18", imagenet), ("narrow", [])):
        process = start([*tiny(pictures, name, *more), "train.epochs=1"], folder)
        _, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
    return folder


def backbone_of(run: Path) -> dict[str, torch.Tensor]:
    prefix = "backbone."
    return {n.removeprefix(prefix): t for n, t in read_weights(run).items() if n.startswith(prefix)}


def export(here: Cli, run: Path, layout: str, out: str) -> str:
    done = here("export", str(run), "--to", layout, out)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_same_weights(network: nn.Module, run: Path) -> None:
    state, expected = network.state_dict(), backbone_of(run)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    assert {name for name in state if name not in expected} <= {"fc.weight", "fc.bias"}


def test_torchvision_misses_its_classifier_alone(here: Cli, tmp_path: Path, runs: Path) -> None:
    told = export(here, runs / "resnet18", "torchvision", "w.pt")
    assert "model = torchvision.models.resnet18(); model.load_state_dict(" in told
    network = torchvision.models.resnet18()
    state = torch.load(tmp_path / "w.pt", weights_only=True)
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert not unexpected
    assert_same_weights(network, runs / "resnet18")


@pytest.mark.parametrize("out", ["w.pth", "w.safetensors"])
def test_timm_loads_it_strictly(here: Cli, tmp_path: Path, runs: Path, out: str) -> None:
    export(here, runs / "resnet18", "timm", out)
    path = str(tmp_path / out)
    network: Any = timm.create_model("resnet18", num_classes=0, checkpoint_path=path)
    assert_same_weights(network, runs / "resnet18")


def test_the_hubs_folder_is_a_model_of_timm(here: Cli, tmp_path: Path, runs: Path) -> None:
    export(here, runs / "resnet18", "huggingface", "hub")
    export(here, runs / "resnet18", "huggingface", "hub")  # over an earlier one
    network: Any = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True)
    assert_same_weights(network, runs / "resnet18")
    settings = timm.data.resolve_model_data_config(network)  # pyright: ignore
    assert tuple(settings["input_size"]) == (3, 32, 32)
    assert settings["crop_pct"] == 32 / 37
    card = (tmp_path / "hub" / "README.md").read_text()
    metrics = (runs / "resnet18" / "metrics.jsonl").read_text().splitlines()
    (knn,) = {json.loads(line)["knn"] for line in metrics if '"knn"' in line}
    assert f"- knn_percent: {knn}\n" in card
    assert "base_lr: 0.24" in card
    assert f"torch {torch.__version__.partition('+')[0]}" in card
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert config["swiftsiam"]["metrics"]["knn_percent"] == knn
    assert str(runs) not in json.dumps(config) + card  # where the data lay is nobody's affair


DETECTRON2 = {
    "conv1.weight": "stem.conv1.weight",
    "bn1.running_var": "stem.conv1.norm.running_var",
    "layer1.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.0.bn2.bias": "res2.0.conv2.norm.bias",
    "layer2.0.downsample.0.weight": "res3.0.shortcut.weight",
    "layer2.0.downsample.1.weight": "res3.0.shortcut.norm.weight",
    "layer4.1.bn1.running_mean": "res5.1.conv1.norm.running_mean",
}
"""Some of all kinds; Detectron2's modeling/backbone/resnet.py has these names."""


def test_detectron2_has_its_own_names(here: Cli, tmp_path: Path, runs: Path) -> None:
    export(here, runs / "resnet18", "detectron2", "w.pkl")
    content = pickle.loads((tmp_path / "w.pkl").read_bytes())
    assert content["matching_heuristics"] is True
    weights, ours = content["model"], backbone_of(runs / "resnet18")
    assert len(weights) == len(ours)
    assert not [name for name in weights if not name.startswith(("stem.", "res"))]
    for name, theirs in DETECTRON2.items():
        assert np.array_equal(weights[theirs], ours[name].numpy()), name


def test_the_references_own_loading_takes_it(here: Cli, tmp_path: Path, runs: Path) -> None:
    """As main_lincls.py does it: drop what is not the encoder's, then miss fc alone."""
    export(here, runs / "resnet18", "reference", "r.pth.tar")
    content = torch.load(tmp_path / "r.pth.tar", weights_only=True)
    assert (content["epoch"], content["arch"]) == (1, "resnet18")
    prefix = "module.encoder."
    kept = {
        name.removeprefix(prefix): tensor
        for name, tensor in content["state_dict"].items()
        if name.startswith(prefix) and not name.startswith(f"{prefix}fc")
    }
    network = torchvision.models.resnet18()
    missing, unexpected = network.load_state_dict(kept, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert not unexpected
    assert_same_weights(network, runs / "resnet18")


def test_a_run_goes_out_and_comes_back_bit_for_bit(here: Cli, tmp_path: Path, runs: Path) -> None:
    export(here, runs / "narrow", "reference", "r.pth.tar")
    assert here("import", "r.pth.tar", "back").returncode == 0
    before, after = read_weights(runs / "narrow"), read_weights(tmp_path / "back")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name


LAYOUTS = ("torchvision", "timm", "detectron2")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_that_a_library_lacks_is_refused(
    here: Cli, tmp_path: Path, runs: Path, layout: str
) -> None:
    done = here("export", str(runs / "narrow"), "--to", layout, "w.pt")
    refused(done, "cifar_resnet18_w16", "choose --to huggingface")
    assert not (tmp_path / "w.pt").exists()


def test_places_that_cannot_be_written_are_refused(here: Cli, tmp_path: Path, runs: Path) -> None:
    run = str(runs / "resnet18")
    refused(here("export", run, "--to", "timm", "no/where.pt"), "OUT=", "does not exist")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    refused(here("export", run, "--to", "huggingface", "full"), "OUT=", "holds other files")
    refused(here("export", run, "--to", "reference", "w.safetensors"), "hold weights alone")
    refused(here("export", run, "--to", "onnx", "w.onnx"), "--to")
    refused(here("export", "nowhere", "--to", "timm", "w.pt"), "neither a checkpoint")


def test_a_configuration_of_another_network_is_refused(
    here: Cli, tmp_path: Path, runs: Path
) -> None:
    run = tmp_path / "edited"
    (run / "checkpoints").mkdir(parents=True)
    (source,) = (runs / "narrow" / "checkpoints").glob("step*.pt")
    (run / "checkpoints" / source.name).write_bytes(source.read_bytes())
    config = (runs / "narrow" / "config.yaml").read_text()
    assert "backbone: cifar_resnet18_w16" in config
    (run / "config.yaml").write_text(config.replace("cifar_resnet18_w16", "cifar_resnet18_w32"))
    refused(
        here("export", "edited", "--to", "huggingface", "w"),
        "its weights are of cifar_resnet18_w16",
        "model.backbone=cifar_resnet18_w32",
    )


@pytest.mark.parametrize("name", ["resnet18", "narrow"])
def test_a_programs_encoder_is_that_of_the_evaluation(
    here: Cli, tmp_path: Path, runs: Path, pictures: Path, name: str
) -> None:
    """Its transform makes the loader's views to within rounding, from a run and an export alike."""
    export(here, runs / name, "huggingface", "hub")
    network, transform = load_encoder(runs / name)
    assert not network.training
    (preset, size) = ("imagenet", 32) if name == "resnet18" else ("cifar", 16)
    source = open_source(str(pictures / "val"))
    spec = build_eval_spec(AugmentConfig(preset=preset, size=size))
    loader = build_loader(source=source, specs=(spec,), global_batch_size=4, train=False)
    batch = next(iter(loader))
    files = [pictures / "val" / source.key(index) for index in batch.index.tolist()]
    views = torch.stack([transform(Image.open(file)) for file in files])
    assert (views - batch.views[0]).abs().max() < 0.02
    with torch.inference_mode():
        features = network(views)
        assert torch.equal(load_encoder(tmp_path / "hub").network(views), features)
    assert features.shape == (4, 512 if name == "resnet18" else 128)
