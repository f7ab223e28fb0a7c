"""Backbones: picture in, pooled feature out.

ImageNet: torchvision's ResNets with the last BatchNorm of each residual branch at zero. CIFAR:
ResNet-18 with a 3×3 stem and no max-pool (paper, appendix D), also narrower, for CPUs. Others by
the names of their libraries: see `libraries`.
"""

import difflib
from typing import Annotated, Literal, get_args

import torch
import torchvision
from pydantic import AfterValidator
from torch import nn
from torchvision.models.resnet import BasicBlock

from .libraries import build_by_name, examine, is_by_name

BackboneName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "cifar_resnet18",
    "cifar_resnet18_w32",
    "cifar_resnet18_w16",
]
"""Those that are known here, and by their weights."""

_CIFAR_WIDTHS = {"cifar_resnet18": 64, "cifar_resnet18_w32": 32, "cifar_resnet18_w16": 16}


class CifarResNet(nn.Module):
    """ResNet-18 for small pictures: torchvision's blocks and names behind a 3×3 stem."""

    def __init__(self, *, width: int = 64) -> None:
        """
        Args:
            width: channels of the stem; the feature has eight times as many.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _build_layer(width, width, stride=1)
        self.layer2 = _build_layer(width, 2 * width, stride=2)
        self.layer3 = _build_layer(2 * width, 4 * width, stride=2)
        self.layer4 = _build_layer(4 * width, 8 * width, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = 8 * width
        _init_as_torchvision(self)

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) → (B, num_features)."""
        x = self.relu(self.bn1(self.conv1(view)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)


def _build_layer(channels_in: int, channels: int, *, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or channels_in != channels:
        downsample = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
        )
    return nn.Sequential(
        BasicBlock(channels_in, channels, stride, downsample), BasicBlock(channels, channels)
    )


def _init_as_torchvision(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)  # pyright: ignore[reportArgumentType]


def check_backbone(name: str) -> str:
    """The name, where there is such a backbone; a library is asked only for names of its own.

    Raises:
        ValueError: there is none, or it gives no feature vector; begins with the name.
    """
    if is_by_name(name):
        examine(name)
        return name
    known = get_args(BackboneName)
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise ValueError(
            f"{name!r}: no such backbone; {hint}Known: {', '.join(known)}, torchvision/NAME and "
            "timm/NAME"
        )
    return name


BackboneText = Annotated[str, AfterValidator(check_backbone)]
"""A backbone in a configuration: of `BackboneName`, torchvision/NAME or timm/NAME."""


def build_backbone(name: str) -> tuple[nn.Module, int]:
    """The network without its classifier, and the width of its pooled feature.

    Args:
        name: as `BackboneText` has it.

    Raises:
        ValueError: no such backbone, or none that gives a feature vector.
    """
    try:
        check_backbone(name)
    except ValueError as error:
        raise ValueError(f"model.backbone={error}") from None
    if is_by_name(name):
        return build_by_name(name)
    if name in _CIFAR_WIDTHS:
        network = CifarResNet(width=_CIFAR_WIDTHS[name])
        return network, network.num_features
    network = getattr(torchvision.models, name)(weights=None, zero_init_residual=True)
    num_features = network.fc.in_features
    network.fc = nn.Identity()
    return network, num_features
