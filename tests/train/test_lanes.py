"""The table of lanes, the step that is made of them, and that no step waits for the device."""

import dataclasses

import pytest
import torch
from swiftsiam.model.method import ModelConfig
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.config import TrainConfig
from swiftsiam.train.flops import count_flops
from swiftsiam.train.lanes import LANES, Lanes, build_step, choose_lanes, switch_on
from swiftsiam.train.optim import OptimConfig
from swiftsiam.train.step import TrainStep
from torch.utils._python_dispatch import TorchDispatchMode

CONFIG = ModelConfig(
    backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=16, projection_dim=16
)
LABELS = torch.full((4,), -1)
OURS = Lanes(channels_last=True, fused=True)


def build(lanes: Lanes) -> tuple[SimSiam, TrainStep]:
    torch.manual_seed(0)
    model = SimSiam(CONFIG)
    return model, build_step(model, OptimConfig(), lanes, lr=0.05)


def views(seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 4, 3, 16, 16, generator=generator))


class Waits(TorchDispatchMode):
    """Counts what needs a value on the host, for which a GPU would be waited for."""

    _WAITING = frozenset(("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item"))

    def __init__(self) -> None:
        super().__init__()
        self.met: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self._WAITING:
            self.met.append(name)
        return func(*args, **(kwargs or {}))


def count_waits(step: TrainStep) -> int:
    step(views(0), LABELS)  # the first one sets up
    with Waits() as waits:
        step(views(1), LABELS)
    return len(waits.met)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_for_the_device(precision: str) -> None:
    assert count_waits(build(dataclasses.replace(OURS, precision=precision))[1]) == 0


def test_nor_does_one_that_scales_its_loss() -> None:
    _, step = build(OURS)
    step._scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    assert count_waits(step) == 0


def test_one_whose_optimizer_is_not_fused_does() -> None:
    """The reference's; so the tests above can fail."""
    assert count_waits(build(Lanes())[1]) > 0


def test_every_lane_has_a_row_and_is_switched_by_it() -> None:
    assert set(LANES) == {field.name for field in dataclasses.fields(Lanes)}
    lanes = Lanes()
    for name, lane in LANES.items():
        assert lane.what
        assert lane.when
        more = switch_on(lanes, name)
        assert getattr(more, name) != getattr(lanes, name)
        lanes = more


def test_lanes_change_the_speed_and_not_the_method() -> None:
    losses = {}
    for lanes in (Lanes(), Lanes(channels_last=True), Lanes(fused=True), OURS):
        model, step = build(lanes)
        for seed in range(3):
            step(views(seed), LABELS)
        losses[lanes] = step.take_figures()["loss"]
        weight = model.backbone.conv1.weight  # type: ignore[attr-defined]
        assert weight.is_contiguous(memory_format=torch.channels_last) == lanes.channels_last
    assert len(set(losses.values())) >= 1
    assert max(losses.values()) - min(losses.values()) < 1e-5


def test_a_graph_is_refused_where_there_is_none() -> None:
    asked = TrainConfig(device="cpu", precision="fp32", compile="off", cuda_graph="on")
    with pytest.raises(UserError, match="there is none on a CPU"):
        choose_lanes(asked)
    asked = dataclasses.replace(asked, device="cuda")
    assert choose_lanes(asked).cuda_graph
    with pytest.raises(UserError, match="there is none in 2 processes"):
        choose_lanes(asked, world_size=2)


def test_what_the_compiler_cannot_do_is_told_and_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such instruction")

    plain, plain_step = build(OURS)
    torch.manual_seed(0)
    model = SimSiam(CONFIG)
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **options: compile_module(self, **options | {"backend": refuse}),
    )
    step = build_step(model, OptimConfig(), dataclasses.replace(OURS, compile=True), lr=0.05)
    for one in (plain_step, step):
        for seed in range(2):
            one(views(seed), LABELS)
    for one, other in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    (note,) = step.take_notes()
    assert note.startswith("train.compile: failed, and the run goes on without it (")
    assert "no such instruction" in note
    assert not plain_step.take_notes()


def build_shallow(lanes: Lanes) -> tuple[SimSiam, TrainStep]:
    """One convolution, or compiling takes a minute."""
    torch.manual_seed(0)
    model = SimSiam(CONFIG)
    model.backbone = torch.nn.Sequential(
        torch.nn.Conv2d(3, model.num_features, 3, bias=False),
        torch.nn.BatchNorm2d(model.num_features),
        torch.nn.ReLU(inplace=True),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )
    return model, build_step(model, OptimConfig(), lanes, lr=0.05)


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step() -> None:
    plain, plain_step = build_shallow(OURS)
    model, step = build_shallow(dataclasses.replace(OURS, compile=True))
    for one in (plain_step, step):
        for seed in range(3):
            one(views(seed), LABELS)
    assert list(model.state_dict()) == list(plain.state_dict())
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert step.take_figures()["loss"] == pytest.approx(plain_step.take_figures()["loss"], abs=1e-4)
    assert not step.take_notes()


def test_arithmetic_of_a_picture_is_counted() -> None:
    """ResNet-50 has 4.09 billion multiplications and additions a view of 224 px (torchvision's
    documentation); backward costs twice the forward pass, but for the first convolution's input.
    """
    counted = count_flops(ModelConfig(backbone="resnet50"), sizes=(224, 224))
    assert counted == pytest.approx(2 * 3 * 2 * 4.09e9, rel=0.02)
