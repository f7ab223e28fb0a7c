"""The model against a plain, independent writing-down of the paper's method."""

import pytest
import torch
import torch.nn.functional as F
from swiftsiam.model.method import ModelConfig
from swiftsiam.model.simsiam import SimSiam, negative_cosine
from torch import nn

CIFAR = ModelConfig(
    backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=48, projection_dim=32
)
IMAGENET = ModelConfig(backbone="resnet18", projector_layers=3, projection_dim=64)

LABELS = torch.full((6,), -1)


def build(config: ModelConfig) -> SimSiam:
    torch.manual_seed(0)
    return SimSiam(config)


def draw(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_views(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    views = torch.randn(2, 6, 3, size, size, generator=generator)
    return views[0], views[1]


def plain_loss(model: SimSiam, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
    """Algorithm 1 of the paper, with its own normalisation and means."""

    def distance(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        z = z.detach()
        p = p / p.norm(dim=1, keepdim=True)
        z = z / z.norm(dim=1, keepdim=True)
        return -(p * z).sum(dim=1).mean()

    z1, z2 = model.projector(model.backbone(x1)), model.projector(model.backbone(x2))
    p1, p2 = model.predictor(z1), model.predictor(z2)
    return distance(p1, z2) / 2 + distance(p2, z1) / 2


@pytest.mark.parametrize("config", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
def test_loss_and_gradients_equal_the_papers_algorithm(config: ModelConfig) -> None:
    ours, plain = build(config), build(config)
    views = make_views()
    loss, expected = ours(views, LABELS).loss, plain_loss(plain, *views)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_no_gradient_passes_through_the_target() -> None:
    prediction = draw(4, 8).requires_grad_()
    model = build(CIFAR)
    output = model(make_views(), LABELS)
    assert not any(z.requires_grad for z in output.projections)
    assert not any(figure.requires_grad for figure in output.figures.values())
    target = draw(4, 8, seed=3).requires_grad_()
    negative_cosine(prediction, target.detach()).backward()
    assert target.grad is None


def test_statistics_are_per_view() -> None:
    """One pass over both views together would give other projections."""
    model = build(CIFAR)
    view1, view2 = make_views()
    output = model((view1, view2 * 3 + 1), LABELS)
    together = model.encode(torch.cat((view1, view2 * 3 + 1)))
    assert (output.projections[0] - together[:6]).abs().max() > 0.1
    counts = {m.num_batches_tracked.item() for m in model.backbone.modules() if is_norm(m)}
    assert counts == {3}  # two by the forward pass, one by this test


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)


def kinds(head: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in head]


def test_heads_are_the_papers() -> None:
    block = ["Linear", "BatchNorm1d", "ReLU"]
    model = build(IMAGENET)
    assert kinds(model.projector) == [*block, *block, "Linear", "BatchNorm1d"]
    assert kinds(model.predictor) == [*block, "Linear"]
    assert kinds(build(CIFAR).projector) == [*block, "Linear", "BatchNorm1d"]
    for place in (0, 3):
        assert model.projector[place].bias is None
    assert not model.projector[7].affine
    assert model.predictor[0].bias is None
    assert model.predictor[3].bias is not None
    assert model.predictor[0].out_features == 64 // 4


def test_only_the_projectors_last_bias_is_frozen() -> None:
    model = build(IMAGENET)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["projector.6.bias"]


def test_imagenet_head_widths_follow_the_reference() -> None:
    model = build(ModelConfig(backbone="resnet18"))
    assert model.projector[0].weight.shape == (512, 512)
    assert model.projector[6].weight.shape == (2048, 512)
    assert model.predictor[0].weight.shape == (512, 2048)


def test_loss_is_minus_one_when_views_agree() -> None:
    z = draw(5, 7)
    assert negative_cosine(3 * z, z).item() == pytest.approx(-1)
    assert negative_cosine(-z, z).item() == pytest.approx(1)


def test_loss_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = build(CIFAR)(make_views(), LABELS).loss
    assert loss.dtype == torch.float32


def test_cosine_equals_functional() -> None:
    p, z = draw(2, 9, 5)
    expected = -(F.normalize(p, dim=1) * F.normalize(z, dim=1)).sum(1).mean()
    torch.testing.assert_close(negative_cosine(p, z), expected)
