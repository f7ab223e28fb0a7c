import pytest
import torch
import torchvision
from swiftsiam.model.backbones import build_backbone
from torch import nn


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("resnet50", 2048), ("cifar_resnet18", 512), ("cifar_resnet18_w16", 128)],
)
def test_feature_width(name: str, width: int) -> None:
    network, num_features = build_backbone(name)  # pyright: ignore[reportArgumentType]
    assert num_features == width
    assert network.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, width)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="resnet99"):
        build_backbone("resnet99")  # pyright: ignore[reportArgumentType]


def test_imagenet_weights_load_into_torchvision() -> None:
    network, _ = build_backbone("resnet50")
    missing, unexpected = torchvision.models.resnet50().load_state_dict(
        network.state_dict(), strict=False
    )
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert not unexpected


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "cifar_resnet18_w16"])
def test_residual_branches_start_at_zero(name: str) -> None:
    network, _ = build_backbone(name)  # pyright: ignore[reportArgumentType]
    last = "bn3" if name == "resnet50" else "bn2"
    blocks = [m for m in network.modules() if hasattr(m, last) and hasattr(m, "conv2")]
    assert len(blocks) >= 8
    assert all(getattr(block, last).weight.eq(0).all() for block in blocks)


def test_cifar_stem_keeps_the_resolution() -> None:
    network, _ = build_backbone("cifar_resnet18")
    assert isinstance(network.conv1, nn.Conv2d)
    assert network.conv1.kernel_size == (3, 3)
    assert network.conv1.stride == (1, 1)
    assert not any(isinstance(m, nn.MaxPool2d) for m in network.modules())
    shapes: list[torch.Size] = []
    network.layer1.register_forward_hook(lambda _m, _i, out: shapes.append(out.shape))
    network.eval()(torch.zeros(1, 3, 32, 32))
    assert shapes[0][2:] == (32, 32)
