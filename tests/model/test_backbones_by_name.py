"""Backbones of torchvision and timm by name: what they give, and what is refused in a line."""

import subprocess
import sys

import pytest
import timm
import torch
from swiftsiam.model.backbones import build_backbone
from swiftsiam.model.libraries import check_sizes, examine
from swiftsiam.model.method import Course, ModelConfig, build_method
from swiftsiam.train.config import parse_config
from swiftsiam.train.flops import count_flops
from torch import nn

pytestmark = pytest.mark.usefixtures("single_thread")

SMALL = {
    "timm/test_vit": 64,
    "timm/test_convnext": 64,
    "torchvision/shufflenet_v2_x0_5": 1024,
    "torchvision/mobilenet_v3_small": 1024,
}
"""By name, with the width of the feature."""


@pytest.mark.parametrize("name", SMALL)
def test_the_feature_is_that_of_the_network_less_its_last_layer(name: str) -> None:
    network, num_features = build_backbone(name)
    assert num_features == SMALL[name]
    for mode in (True, False):
        assert network.train(mode)(torch.randn(2, 3, 32, 32)).shape == (2, num_features)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("timm/vit_small_patch16_224", 384),
        ("timm/convnext_tiny", 768),
        ("timm/mobilenetv3_small_100", 1024),  # of which num_features tells 576
        ("torchvision/convnext_tiny", 768),
        ("torchvision/vit_b_16", 768),
        ("torchvision/swin_t", 768),
        ("torchvision/vgg11", 4096),
        ("torchvision/regnet_y_400mf", 440),  # which cannot be built without numbers
        ("torchvision/resnext50_32x4d", 2048),
    ],
)
def test_widths_are_found_without_a_number_computed(name: str, width: int) -> None:
    with torch.device("meta"):
        network, num_features = build_backbone(name)
    assert num_features == width
    assert all(parameter.is_meta for parameter in network.parameters())


def test_looking_at_a_network_leaves_the_random_state_alone() -> None:
    """Or a run would begin with other weights the second time."""
    examine.cache_clear()
    torch.manual_seed(0)
    first = build_backbone("timm/test_vit")[0].state_dict()
    torch.manual_seed(0)
    second = build_backbone("timm/test_vit")[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(0)
    with torch.device("meta"):
        build_backbone("torchvision/regnet_y_400mf")
    assert torch.initial_seed() == 0
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize("name", ["torchvision/convnext_tiny", "torchvision/mobilenet_v3_small"])
def test_nothing_is_dropped_at_random(name: str) -> None:
    network, _ = build_backbone(name)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    view = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(view), network(view))


def test_torchvisions_resnets_begin_as_ours_do() -> None:
    torch.manual_seed(0)
    ours = build_backbone("resnet18")[0].state_dict()
    torch.manual_seed(0)
    theirs = build_backbone("torchvision/resnet18")[0].state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


REFUSED = {
    "resnet51": "'resnet51': no such backbone; did you mean resnet50",
    "vit_b_16": "torchvision/NAME",
    "torchvision/convnext_tinny": "did you mean torchvision/convnext_tiny?",
    "torchvision/deeplabv3_resnet50": "torchvision has no such network",
    "timm/vit_smal_patch16_224": "did you mean timm/vit_small_patch16_224?",
    "timm/resnet50.a1_in1k": "did you mean timm/resnet50?",
    "timm/hf-hub:someone/network": "timm has no such network",
    "torchvision/googlenet": "has more than one output in training; take another",
    "torchvision/inception_v3": "has more than one output in training; take another",
    "torchvision/squeezenet1_0": "has no linear layer at its end",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_backbone_is_told_in_a_line(name: str) -> None:
    with pytest.raises(ValueError) as told:
        parse_config({}, [f"model.backbone={name}"])
    assert str(told.value).startswith(f"model.backbone={name!r}: ")
    assert REFUSED[name] in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(ValueError) as raised:
        build_backbone(name)
    assert str(raised.value) == str(told.value)


class _Grid(nn.Module):
    def forward(self, view: torch.Tensor) -> torch.Tensor:
        return view


def test_a_network_that_gives_no_vector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: _Grid())
    examine.cache_clear()
    with pytest.raises(ValueError, match="gives a tensor of 2 x 3 x 224 x 224 for 2 pictures"):
        build_backbone("timm/resnet18")
    examine.cache_clear()


@pytest.mark.parametrize("name", ["timm/mixer_s32_224", "torchvision/vit_b_16"])
def test_a_view_that_does_not_fit_is_told_with_the_size_that_does(name: str) -> None:
    check_sizes(name, (224, 224))
    with pytest.raises(ValueError) as told:
        check_sizes(name, (224, 96))
    assert str(told.value).startswith(f"augment.size=96: model.backbone={name} takes no views")
    assert "set augment.size=224" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_vit_takes_views_of_other_sizes() -> None:
    check_sizes("timm/vit_small_patch16_224", (224, 96, 32))
    with pytest.raises(ValueError, match="size=40"):  # not of 14 px either
        check_sizes("timm/vit_small_patch14_dinov2", (40,))


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext"])
def test_a_method_trains_around_it(name: str) -> None:
    """In channels_last, with gradients for all that is trained; the operations are counted."""
    model = build_method(ModelConfig(backbone=name, projection_dim=32))
    course = Course(sizes=(32, 32), num_pictures=4, batch_size=4, steps_per_epoch=1, num_steps=1)
    model.begin(course)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    views = tuple(torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last) for _ in range(2))
    output = model(views, torch.zeros(4, dtype=torch.int64))
    output.loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert count_flops(ModelConfig(backbone=name), sizes=(32, 32)) > 1e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext", "torchvision/swin_t"])
def test_it_compiles_as_one_graph(name: str) -> None:
    network, _ = build_backbone(name)
    view = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(network, fullgraph=True, dynamic=False, backend="aot_eager")
    with torch.no_grad():
        assert torch.allclose(compiled(view), network(view), atol=1e-5)


@pytest.mark.slow
def test_no_library_is_asked_for_names_that_are_not_its_own() -> None:
    code = (
        "import sys; from swiftsiam.train.config import parse_config; "
        "parse_config({}, ['model.backbone=resnet18']); "
        "assert 'timm' not in sys.modules; "
        "parse_config({}, ['model.backbone=torchvision/resnet18']); "
        "assert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=500)
