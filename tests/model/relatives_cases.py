"""SimSiam's relatives, small and in float64, and what they are trained on in their proofs."""

from typing import Any

import torch
from swiftsiam.model import byol, moco, simclr, swav
from swiftsiam.model.method import Course, ModelConfig, build_method
from torch import nn

ROWS, STEPS = 6, 5
FEATURES, HIDDEN, WIDTH, NARROW = 128, 48, 16, 8
BASE: dict[str, Any] = {
    "backbone": "cifar_resnet18_w16",
    "projector_layers": 2,
    "projector_hidden": HIDDEN,
    "projection_dim": WIDTH,
    "predictor_hidden": NARROW,
}
TWO, MANY = (32, 32), (32, 32, 16, 16)
INDEX = torch.tensor([3, 1, 4, 15, 9, 2])
# Seen 1e-13 in five steps, also of gradients that are zero but for rounding (a bias before a BN).
WITHIN: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}


def make_course(sizes: tuple[int, ...] = TWO) -> Course:
    """Two steps an epoch, so that SwAV's prototypes move from the third one on."""
    return Course(sizes, num_pictures=20, batch_size=ROWS, steps_per_epoch=2, num_steps=8)


def make_index(*, step: int) -> torch.Tensor:
    """The same pictures each time, each in another row: rows of two processes change places."""
    return INDEX.roll(2 * step)


def build(config: ModelConfig, *, sizes: tuple[int, ...] = TWO) -> Any:
    """With no weight where it leaves gradients at zero; in float64."""
    torch.manual_seed(0)
    model = build_method(config)
    model.begin(make_course(sizes))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.1, 0.5)  # of residual branches they begin at zero
            nn.init.uniform_(module.bias, -0.3, 0.3)
    for encoder in (m for name, m in model.named_modules() if name.endswith("momentum_encoder")):
        encoder.backbone.load_state_dict(model.backbone.state_dict())  # type: ignore
        encoder.projector.load_state_dict(model.projector.state_dict())  # type: ignore
    model.double()
    if isinstance(model, swav.SwAV):  # unit vectors from the first step on, and here in float64
        with torch.no_grad():
            weight = model.prototypes.weight
            torch.testing.assert_close(weight, unit(weight), rtol=1e-6, atol=0)
            weight.copy_(unit(weight))
    return model


def make_views(sizes: tuple[int, ...], *, seed: int) -> tuple[torch.Tensor, ...]:
    """Of other means and scales, as the halves of the rows are, so that statistics of other rows
    together would be others.
    """
    generator = torch.Generator().manual_seed(seed)
    shift = torch.arange(ROWS, dtype=torch.float64)[:, None, None, None] / ROWS
    return tuple(
        (1 + 0.2 * number) * torch.randn(ROWS, 3, size, size, generator=generator).double()
        + shift
        + 0.3 * number
        for number, size in enumerate(sizes)
    )


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.square().sum(dim=1, keepdim=True).sqrt()


def compare_copies(ours: Any, plain: nn.Sequential) -> None:
    """Weights and BatchNorm's statistics of a momentum encoder."""
    for (name, own), other in zip(
        ours.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(own, other, **WITHIN, msg=lambda told, n=name: f"{n}: {told}")


CONFIGS: dict[str, tuple[ModelConfig, tuple[int, ...]]] = {
    "simclr": (simclr.Config(**BASE), TWO),
    "simclr with predictor": (simclr.Config(**BASE, predictor="mlp", temperature=0.5), TWO),
    "simclr with stop-gradient": (simclr.Config(**BASE, stop_gradient=True), TWO),
    "simclr with both": (simclr.Config(**BASE, predictor="mlp", stop_gradient=True), TWO),
    "byol": (byol.Config(**BASE, momentum=0.8), TWO),
    "moco": (moco.Config(**BASE, momentum=0.8, queue=29), TWO),  # a step brings 12 keys
    "swav": (swav.Config(**BASE, prototypes=7), TWO),
    "swav with small views": (swav.Config(**BASE, prototypes=7), MANY),
    "swav with predictor": (swav.Config(**BASE, prototypes=7, predictor="mlp"), TWO),
    "swav without stop-gradient": (swav.Config(**BASE, prototypes=7, stop_gradient=False), MANY),
    "swav with both": (
        swav.Config(**BASE, prototypes=7, predictor="mlp", stop_gradient=False, freeze_epochs=0),
        TWO,
    ),
}
