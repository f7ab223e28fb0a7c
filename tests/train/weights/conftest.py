"""Checkpoints as others write them, made without anything of this project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn


def build_reference(*, arch: str = "resnet18", dim: int = 64, predictor: int = 16) -> nn.Module:
    """SimSiam as its reference lays it out: `module.encoder.fc` is the projector (paper.md)."""
    encoder = getattr(torchvision.models, arch)(num_classes=dim, zero_init_residual=True)
    width = encoder.fc.in_features
    last = nn.Linear(width, dim)
    last.bias.requires_grad = False
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    encoder.fc = nn.Sequential(*layers, last, nn.BatchNorm1d(dim, affine=False))
    model = nn.Module()
    model.encoder = encoder
    model.predictor = nn.Sequential(
        nn.Linear(dim, predictor, bias=False),
        nn.BatchNorm1d(predictor),
        nn.ReLU(),
        nn.Linear(predictor, dim),
    )
    return model


def train_reference(model: Any, *, fixes_lr: bool, steps: int = 2) -> torch.optim.SGD:
    """A few steps, so that statistics and momentum are no defaults."""
    encoder, predictor = list(model.encoder.parameters()), list(model.predictor.parameters())
    groups: Any = [*encoder, *predictor]
    if fixes_lr:
        groups = [
            {"params": encoder, "fix_lr": False},
            {"params": predictor, "fix_lr": True},
        ]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=1e-4)
    for _ in range(steps):
        z1, z2 = (model.encoder(torch.randn(4, 3, 32, 32)) for _ in range(2))
        p1, p2 = model.predictor(z1), model.predictor(z2)
        similarity = nn.functional.cosine_similarity(p1, z2.detach()).mean()
        similarity = similarity + nn.functional.cosine_similarity(p2, z1.detach()).mean()
        optimizer.zero_grad()
        (-0.5 * similarity).backward()
        optimizer.step()
    return optimizer


@pytest.fixture(scope="session")
def make_reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a checkpoint in the reference's layout."""

    def make(*, fixes_lr: bool = True, **sizes: Any) -> Path:
        torch.manual_seed(3)
        model = build_reference(**sizes)
        optimizer = train_reference(model, fixes_lr=fixes_lr)
        path = tmp_path_factory.mktemp("reference") / "checkpoint_0099.pth.tar"
        content = {
            "epoch": 100,
            "arch": sizes.get("arch", "resnet18"),
            "state_dict": {f"module.{name}": t for name, t in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
        }
        torch.save(content, path)
        return path

    return make


@pytest.fixture(scope="session")
def reference(make_reference: Callable[..., Path]) -> Path:
    """One of them, of a ResNet-18."""
    return make_reference()
