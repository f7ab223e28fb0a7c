"""Checkpoints of others go in and come out bit for bit; what is none of them is told in a line."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from swiftsiam import load_encoder
from swiftsiam.model.method import build_method
from swiftsiam.train.checkpoint import load_checkpoint
from swiftsiam.train.optim import OptimConfig, build_optimizer, load_optimizer
from swiftsiam.train.weights.foreign import read_foreign
from swiftsiam.train.weights.recognise import recognise_model
from torch import nn

from ..conftest import Cli, refused

pytestmark = pytest.mark.usefixtures("single_thread")


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("fixes_lr", [True, False], ids=["fix-pred-lr", "decayed"])
def test_a_checkpoint_of_the_reference_comes_out_as_it_went_in(
    here: Cli, tmp_path: Path, make_reference: Callable[..., Path], *, fixes_lr: bool
) -> None:
    path = make_reference(fixes_lr=fixes_lr)
    done = here("import", str(path), "ours")
    assert done.returncode == 0, done.stderr
    assert (
        "the SimSiam reference, resnet18, epoch 100, backbone, projector, predictor, momentum"
        in (done.stdout)
    )
    assert here("export", "ours", "--to", "reference", "out.pth.tar").returncode == 0
    before, after = load(path), load(tmp_path / "out.pth.tar")
    assert_equal(before["state_dict"], after["state_dict"])
    assert (before["epoch"], before["arch"]) == (after["epoch"], after["arch"])
    old, new = before["optimizer"], after["optimizer"]
    assert old["param_groups"] == new["param_groups"]
    assert old["state"].keys() == new["state"].keys()
    for number, entry in old["state"].items():
        assert_equal(entry, new["state"][number])


def test_the_momentum_is_that_of_the_same_parameter(
    here: Cli, tmp_path: Path, reference: Path
) -> None:
    """Ours counts without the projector's frozen bias, the reference with it."""
    assert here("import", str(reference), "ours").returncode == 0
    state = load_checkpoint(tmp_path / "ours" / "checkpoints" / "step000000000.pt")
    found = read_foreign(reference).found
    model = build_method(recognise_model(found, reference))
    model.load_state_dict(state["model"])
    optimizer = build_optimizer(model, OptimConfig(), lr=0.1)
    load_optimizer(optimizer, state["optimizer"])
    theirs = load(reference)["optimizer"]["state"]
    names = [name for name in load(reference)["state_dict"] if is_parameter(name)]
    parameters = dict(model.named_parameters())
    for name, ours in (
        ("module.encoder.conv1.weight", "backbone.conv1.weight"),
        ("module.encoder.fc.6.weight", "projector.6.weight"),
        ("module.predictor.0.weight", "predictor.0.weight"),
        ("module.predictor.3.bias", "predictor.3.bias"),
    ):
        momentum = optimizer.state[parameters[ours]]["momentum_buffer"]
        assert torch.equal(momentum, theirs[names.index(name)]["momentum_buffer"]), name


def is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def resnet(width: str = "resnet18") -> nn.Module:
    torch.manual_seed(1)
    network = getattr(torchvision.models, width)()
    network.train()(torch.randn(2, 3, 32, 32))  # statistics that are no defaults
    return network.eval()


def prefixed(prefix: str, network: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}


def numbered(network: nn.Module) -> nn.Module:
    return nn.Sequential(*list(network.children())[:-1])


def lay_out(name: str) -> dict[str, Any]:
    """The network as these trainers write it, with another one where a momentum copy lies."""
    network, other = resnet(), torchvision.models.resnet18()
    return {
        "MoCo": {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": prefixed("module.encoder_k.", other)
            | prefixed("module.encoder_q.", network)
            | {"module.encoder_q.fc.2.weight": torch.zeros(3, 3), "module.queue": torch.zeros(2)},
        },
        "MoCo v3": {
            "state_dict": prefixed("module.momentum_encoder.", other)
            | prefixed("module.base_encoder.", network)
            | {"module.predictor.0.weight": torch.zeros(2, 2)}
        },
        "BYOL (byol-pytorch)": prefixed("online_encoder.net.", network)
        | prefixed("target_encoder.net.", other),
        "BYOL (lightning-bolts)": {
            "state_dict": prefixed("target_network.encoder.", other)
            | prefixed("online_network.encoder.", network)
        },
        "solo-learn or PyTorch-BYOL": {
            "online_network_state_dict": prefixed("encoder.", numbered(network))
            | {"projetion.net.0.weight": torch.zeros(2, 2)},
            "target_network_state_dict": prefixed("encoder.", numbered(other)),
        },
        "solo-learn, mmselfsup or lightly": {
            "state_dict": prefixed("backbone.", numbered(network))
            | prefixed("momentum_backbone.", numbered(other)),
            "epoch": 5,
        },
        "torchvision": network.state_dict(),
    }[name]


TRAINERS = (
    *("MoCo", "MoCo v3", "BYOL (byol-pytorch)", "BYOL (lightning-bolts)"),
    *("solo-learn or PyTorch-BYOL", "solo-learn, mmselfsup or lightly", "torchvision"),
)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_backbones_of_other_trainers_are_found(here: Cli, tmp_path: Path, trainer: str) -> None:
    torch.save(lay_out(trainer), tmp_path / "theirs.pt")
    done = here("import", "theirs.pt", "ours")
    assert done.returncode == 0, done.stderr
    assert f": {trainer}, resnet18" in done.stdout
    assert "predictor" not in done.stdout
    expected = resnet()
    expected.fc = nn.Identity()
    views = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for path in ("ours", "theirs.pt"):
            network, _ = load_encoder(tmp_path / path)
            assert torch.equal(network(views), expected(views)), path
    assert here("export", "ours", "--to", "torchvision", "out.pt").returncode == 0
    state = load(tmp_path / "out.pt")
    for name, tensor in state.items():
        assert torch.equal(tensor, expected.state_dict()[name]), name
    refused(here("export", "ours", "--to", "reference", "r.pt"), "holds a backbone alone")
    refused(here("pretrain", "--resume", "ours"), "holds imported weights")


def test_safetensors_are_read(here: Cli, tmp_path: Path) -> None:
    save_file(resnet().state_dict(), tmp_path / "w.safetensors")
    assert ": torchvision, resnet18" in here("import", "w.safetensors", "ours").stdout
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:999])
    refused(here("import", "cut.safetensors", "other"), "cut.safetensors: damaged")


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("command", ["import", "export", "knn", "load_encoder"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
def test_code_is_refused_and_not_run(
    here: Cli, tmp_path: Path, command: str, *, zipped: bool
) -> None:
    trace, path = tmp_path / "executed", tmp_path / "evil.pth"
    content = {"state_dict": {"conv1.weight": torch.zeros(1)}, "more": Malicious(trace)}
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    if command == "load_encoder":
        with pytest.raises(ValueError, match="refused, and nothing in it was run"):
            load_encoder(path)
    else:
        more = {"import": ["out"], "export": ["--to=timm", "out"], "knn": ["bank", "queries"]}
        refused(here(command, "evil.pth", *more[command]), "refused, and nothing in it was run")
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


def without(weights: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: tensor for key, tensor in weights.items() if key != name}


def test_what_does_not_fit_is_told_by_name(here: Cli, tmp_path: Path, reference: Path) -> None:
    weights = load(reference)["state_dict"]
    for name, content, words in (
        ("none.pt", {"a.weight": torch.zeros(1)}, ["no weights of a ResNet", "a.weight"]),
        ("empty.pt", {}, ["no weights of a ResNet", "nothing"]),
        ("tensor.pt", torch.zeros(2), ["holds a Tensor"]),
        (
            "cut.pt",
            without(weights, "module.encoder.layer4.1.bn2.bias"),
            ["nearest is resnet18", "layer4.1.bn2.bias is of 512, and there missing"],
        ),
        (
            "wide.pt",
            weights | {"module.encoder.conv1.weight": torch.zeros(64, 4, 7, 7)},
            ["conv1.weight is of 64 x 3 x 7 x 7, and there of 64 x 4 x 7 x 7"],
        ),
        (
            "head.pt",
            without(weights, "module.encoder.fc.1.running_mean"),
            ["its projector is not the paper's", "1.running_mean should be of 512"],
        ),
    ):
        torch.save(content, tmp_path / name)
        refused(here("import", name, "out"), name, *words)
        assert not (tmp_path / "out").exists()
    (tmp_path / "text.pt").write_text("hello")
    refused(here("import", "text.pt", "out"), "text.pt")
    refused(here("import", "nowhere.pt", "out"), "FILE=", "not a file")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    refused(here("import", str(reference), "taken"), "OUT=", "exists already")
