"""Linear evaluation and fine-tuning: as the reference does it, resumed and shared out exactly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam import build_eval_spec, build_loader, load_encoder, open_source
from swiftsiam.model.backbones import build_backbone
from swiftsiam.pipeline.augment.spec import AugmentConfig
from swiftsiam.train.config import read_config
from swiftsiam.train.evaluation.linear_command import tell
from swiftsiam.train.evaluation.probe import Probe
from swiftsiam.train.optim import OptimConfig, build_optimizer
from swiftsiam.train.weights.export import export
from swiftsiam.train.weights.trained import Trained, load_trained

from ..conftest import (
    TIMEOUT_S,
    Cli,
    assert_same_run,
    read_learning,
    read_weights,
    start,
)
from .conftest import finish, linear

pytestmark = pytest.mark.usefixtures("single_thread")


def test_the_backbone_stays_bit_for_bit(probed: Path, run: Path) -> None:
    before, after = read_weights(run), read_weights(probed)
    names = [name for name in after if name.startswith("backbone.")]
    assert any("running_mean" in name for name in names)
    for name in names:
        assert torch.equal(before[name], after[name]), name
    assert set(after) - set(names) == {"head.weight", "head.bias"}


def test_accuracy_is_that_of_a_plain_count(probed: Path, run: Path, pictures: Path) -> None:
    network, _ = load_encoder(run)
    weights = read_weights(probed)
    loader = build_loader(
        source=open_source(str(pictures / "val")),
        specs=(build_eval_spec(AugmentConfig(preset="cifar", size=16)),),
        global_batch_size=5,
        train=False,
    )
    right = count = 0
    for batch in loader:
        with torch.inference_mode():
            logits = network(batch.views[0]) @ weights["head.weight"].T + weights["head.bias"]
        right += int((logits.argmax(1) == batch.label)[batch.index >= 0].sum())
        count += int((batch.index >= 0).sum())
    summary = json.loads((probed / "summary.json").read_text())
    assert summary["pictures"] == count == 12
    assert summary["accuracy"] == pytest.approx(100 * right / count)
    assert summary["accuracy_top5"] == 100  # there are two classes
    assert summary["protocol"] == "linear-lars"


def test_the_protocol_is_the_references(probed: Path) -> None:
    """Cosine moved each epoch from 0.1 x batch/256, to two epochs of three."""
    rates = {r["step"]: r["lr"] for r in read_learning(probed) if r["type"] == "train"}
    peak = 0.1 * 8 / 256
    expected = [peak * 0.5 * (1 + np.cos(np.pi * epoch / 3)) for epoch in range(3)]
    assert [rates[step] for step in (5, 10, 15)] == pytest.approx(expected)
    config = (probed / "config.yaml").read_text()
    assert "optimizer: lars" in config
    assert "weight_decay: 0.0" in config


def test_the_papers_figure_stands_beside(tmp_path: Path) -> None:
    summary = {"accuracy": 69.5, "pictures": 50_000, "protocol": "linear-lars"}
    config = read_config("imagenet-r50-b256-200ep")
    ours = {"path": tmp_path / "step1.pt", "config": config, "backbone": {}, "state": {"step": 1}}
    assert tell(Trained(**ours, run=tmp_path), summary) == (
        "linear-lars: 69.50 % of 50,000 pictures; the paper, for the whole recipe: 70.0 % (table 4)"
    )
    # Of weights from elsewhere the configuration is a guess.
    assert tell(Trained(**ours), summary).endswith("the paper has nothing to compare it with")


def test_lars_is_larc_around_sgd() -> None:
    """Adapted without weight decay too; a bias of zero takes the plain rate (apex's LARC)."""
    torch.manual_seed(0)
    backbone, width = build_backbone("cifar_resnet18_w16")
    probe = Probe(backbone, num_features=width, num_classes=3)
    weights = [p.detach().clone() for p in probe.head.parameters()]
    momenta = [torch.zeros_like(p) for p in weights]
    config = OptimConfig(optimizer="lars", weight_decay=0.0)
    optimizer = build_optimizer(probe, config, lr=0.7)
    for _ in range(5):
        gradients = [torch.randn_like(p) for p in weights]
        for parameter, gradient in zip(probe.head.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for weight, momentum, gradient in zip(weights, momenta, gradients, strict=True):
            norm = weight.norm()
            adapted = 0.001 * norm / (gradient.norm() + 1e-8) if norm > 0 else 1.0
            momentum.mul_(0.9).add_(adapted * gradient)
            weight.sub_(0.7 * momentum)
    for parameter, weight in zip(probe.head.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.detach(), weight, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_it_resumes_to_the_same_bits(
    probed: Path, run: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    arguments = linear(run, pictures, "probed", "run.checkpoint_every_s=0")
    code = 75 if name == "SIGTERM" else -9
    told = finish(arguments, tmp_path, code=code, dies_at=f"step:7 {name}")
    if name == "SIGTERM":
        assert "continue with: swiftsiam linear " in told
    assert "continues at step" in finish(arguments, tmp_path)
    assert_same_run(probed, tmp_path / "probed")


@pytest.mark.slow
def test_two_processes_come_to_the_same(
    probed: Path, run: Path, pictures: Path, tmp_path: Path
) -> None:
    finish(linear(run, pictures, "two"), tmp_path, ranks=2)
    before, after = read_weights(probed), read_weights(tmp_path / "two")
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-4, atol=1e-6)
    figures = [
        [r["accuracy"] for r in read_learning(path) if r["type"] == "accuracy"]
        for path in (probed, tmp_path / "two")
    ]
    assert len(figures[0]) == 3
    # Of 12 pictures; one may lie so near the border that rounding decides.
    assert figures[0] == pytest.approx(figures[1], abs=100 / 12 + 1e-6)


@pytest.mark.slow
def test_fine_tuning_trains_all_of_it(run: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = linear(run, pictures, "tuned", "--finetune", "--labels=10")
    arguments.remove("train.batch_size=8")
    told = finish(arguments, tmp_path)
    assert "finetune-10-percent: " in told
    before, after = read_weights(run), read_weights(tmp_path / "tuned")
    for name in (
        "backbone.conv1.weight",
        "backbone.bn1.running_mean",
        "backbone.layer4.1.bn2.bias",
    ):
        assert not torch.equal(before[name], after[name]), name
    config = (tmp_path / "tuned" / "config.yaml").read_text()
    assert "base_lr: 0.01" in config
    rows = [r for r in read_learning(tmp_path / "tuned") if r["type"] == "train"]
    assert export(load_trained(tmp_path / "tuned"), "huggingface", tmp_path / "hub")
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "By `swiftsiam linear`, on a backbone that was pre-trained before: 3 steps" in card
    assert "- accuracy_percent: " in card
    assert rows[0]["lr"] == pytest.approx(0.01 * 4 / 256)
    assert rows[-1]["step"] == 3 * 1  # 4 pictures, in batches of 4: there are no 256


def test_a_floor_needs_no_training(here: Cli, run: Path, pictures: Path, tmp_path: Path) -> None:
    for features in ("pixels", "untrained"):
        done = here(*linear(run, pictures, features, f"--features={features}"))
        assert done.returncode == 0, done.stderr
        assert f"linear-lars-of-{features}: " in done.stdout
    width = read_weights(tmp_path / "pixels")["head.weight"].shape[1]
    assert width == 8 * 8 * 3
    torch.manual_seed(0)  # of the run
    network, _ = build_backbone("cifar_resnet18_w16")
    weights = read_weights(tmp_path / "untrained")
    assert torch.equal(weights["backbone.conv1.weight"], network.state_dict()["conv1.weight"])


@pytest.mark.slow
def test_a_rate_that_diverges_is_told_and_its_batch_drawn(
    here: Cli, run: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = linear(run, pictures, "wild", "--finetune", "optim.base_lr=1e30")
    process = start(arguments, tmp_path)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert "optim.base_lr=1e+30: the loss or a gradient was not finite" in err
    assert "by swiftsiam linear " in err
    assert here("preview", "wild/diverged.json", "--out=batch.png").returncode == 0
    batch = json.loads((tmp_path / "wild" / "diverged.json").read_text())
    assert {len(sample["views"]) for sample in batch["samples"]} == {1}
    assert (tmp_path / "batch.png").stat().st_size > 1000
