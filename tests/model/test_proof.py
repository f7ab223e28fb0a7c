"""The method, proved: loss, every gradient and ten steps of training equal those of a plain
implementation, written here from the paper and the reference's script and sharing no line with
ours: own backbones and heads, the formula with explicit norms, a loop around torch's SGD.

Tensors are compared by norm: ‖ours - plain‖ <= within * ‖plain‖. Rounding differs where sums are
taken in another order (norms, NHWC, the fused optimiser), and BatchNorm over few rows amplifies it.
In float64 it stays far below any change of the method, in ten steps as well. In float32 it is some
1e-5, but now and then switches a ReLU, which moves gradients by percents where rows are few; within
ten steps any two runs part by that, and there each step begins from equal weights.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torchvision
from swiftsiam.model.method import ModelConfig
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.train.lanes import Lanes, build_step
from swiftsiam.train.optim import OptimConfig, build_learning_rate, set_learning_rate
from torch import nn

BATCH = 8
LABELS = torch.full((BATCH,), -1)
NUM_STEPS, EPOCHS, STEPS_PER_EPOCH = 10, 3, 4
MOMENTUM = 0.9

# Of one pass, whose forward parts are the same kernels up to the loss.
PASS_WITHIN = {torch.float64: 1e-12, torch.float32: 1e-4}
# Of training: gradients and momentum; weights and running statistics, which no ReLU moves at once.
GRADIENT_WITHIN = {torch.float64: 1e-11, torch.float32: 1e-1}
VALUE_WITHIN = {torch.float64: 1e-12, torch.float32: 1e-3}
GROWTH = 10  # of rounding in ten steps

KINDS = {
    "imagenet": ModelConfig(backbone="resnet18", projector_layers=3, projection_dim=64),
    "cifar": ModelConfig(
        backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=48, projection_dim=32
    ),
}
SIZES = {"imagenet": 32, "cifar": 16}
RECIPES = {
    "imagenet": OptimConfig(base_lr=0.05, weight_decay=1e-4),
    "cifar": OptimConfig(base_lr=0.03, weight_decay=5e-4),
}
SLOW = pytest.mark.slow
NO_LANE, OURS = Lanes(), Lanes(channels_last=True, fused=True)


class PlainBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al., "Deep residual learning", 2016)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if before != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.first_norm(self.first(x)).clamp(min=0)
        return (self.second_norm(self.second(inner)) + self.shortcut(x)).clamp(min=0)


class PlainCifarResNet(nn.Module):
    """ResNet-18 with a 3×3 stem and no pooling behind it (appendix D), 16 wide."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        shapes = [(16, 16, 1), (16, 32, 2), (32, 64, 2), (64, 128, 2)]
        blocks = [[PlainBlock(*shape), PlainBlock(shape[1], shape[1], 1)] for shape in shapes]
        self.blocks = nn.Sequential(*(block for pair in blocks for block in pair))
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem_norm(self.stem(x)).clamp(min=0))
        return self.head(x.mean(dim=(2, 3)))


def plain_hidden(before: int, width: int) -> list[nn.Module]:
    return [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]


def plain_output(before: int, width: int) -> list[nn.Module]:
    """The bias is what BatchNorm takes away again: the reference's script does not train it."""
    last = nn.Linear(before, width)
    last.bias.requires_grad = False
    return [last, nn.BatchNorm1d(width, affine=False)]


class Plain(nn.Module):
    """Encoder and predictor, as Algorithm 1 takes them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == "imagenet":  # with the projector in the classifier's place, as in the script
            head = [*plain_hidden(512, 512), *plain_hidden(512, 512), *plain_output(512, 64)]
            self.encoder: nn.Module = torchvision.models.resnet18()
            self.encoder.fc = nn.Sequential(*head)
            self.predictor = nn.Sequential(*plain_hidden(64, 16), nn.Linear(16, 64))
        else:
            head = [*plain_hidden(128, 48), *plain_output(48, 32)]
            self.encoder = PlainCifarResNet(nn.Sequential(*head))
            self.predictor = nn.Sequential(*plain_hidden(32, 8), nn.Linear(8, 32))

    def loss(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Equations 1 to 4: D(p, z) = -p/‖p‖₂ · z/‖z‖₂, symmetric, targets held."""
        z1 = self.encoder(x1)
        z2 = self.encoder(x2)
        p1 = self.predictor(z1)
        p2 = self.predictor(z2)
        total = torch.zeros((), dtype=x1.dtype)
        for p, z in ((p1, z2.detach()), (p2, z1.detach())):
            lengths = p.square().sum(dim=1).sqrt() * z.square().sum(dim=1).sqrt()
            total = total - 0.5 * ((p * z).sum(dim=1) / lengths).mean()
        return total


def build_pair(kind: str, dtype: torch.dtype) -> tuple[SimSiam, Plain]:
    """Ours and the plain one with equal weights, none of them where it leaves gradients at zero."""
    torch.manual_seed(0)
    ours = SimSiam(KINDS[kind])
    for module in ours.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.1, 0.5)  # of residual branches they begin at zero
            nn.init.uniform_(module.bias, -0.3, 0.3)
    plain = Plain(kind)
    taken = plain.state_dict()
    pairs = zip(ours.state_dict().items(), taken.items(), strict=True)  # all of both are used
    for (name, source), (other, target) in pairs:
        assert source.shape == target.shape, (name, other)
        assert name.rpartition(".")[2] == other.rpartition(".")[2]  # weight, running_mean, …
        target.copy_(source)
    return ours.to(dtype), plain.to(dtype)


def make_views(kind: str, dtype: torch.dtype, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of other means and scales, so that statistics of both together would be others."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, BATCH, 3, SIZES[kind], SIZES[kind])
    one, other = torch.randn(shape, generator=generator, dtype=torch.float64)
    return one.to(dtype), (1.5 * other + 0.3 * one + 0.5).to(dtype)


@contextmanager
def loss_in(dtype: torch.dtype) -> Iterator[None]:
    """Our loss asks for float32 whatever it gets: in float64 it is given that instead."""
    with pytest.MonkeyPatch.context() as patch:
        if dtype == torch.float64:
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


def assert_close(
    name: str,
    ours: torch.Tensor,
    plain: torch.Tensor,
    *,
    within: float,
    of: torch.Tensor | None = None,
) -> None:
    """By the norm of `of`, or of the plain tensor."""
    assert ours.dtype == plain.dtype
    error = (ours - plain).double().norm().item()
    size = (plain if of is None else of).double().norm().item()
    assert size > 0, f"{name} is zero: nothing is proved of it"
    assert error <= within * size, f"{name}: off by {error / size:.1e} of it"


def assert_close_buffers(ours: SimSiam, plain: Plain, *, within: float) -> None:
    """Running statistics and counts. A mean is measured by its deviation: that of the predictor's
    hidden layer is zero, since the projections are centred.
    """
    buffers = dict(zip(dict(ours.named_buffers()), plain.buffers(), strict=True))
    for name, one in ours.named_buffers():
        path, _, last = name.rpartition(".")
        of = buffers[f"{path}.running_var"].sqrt() if last == "running_mean" else None
        assert_close(name, one, buffers[name], within=within, of=of)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_every_gradient_are_the_plain_ones(kind: str, dtype: torch.dtype) -> None:
    ours, plain = build_pair(kind, dtype)
    views, within = make_views(kind, dtype, seed=1), PASS_WITHIN[dtype]
    with loss_in(dtype):
        loss = ours(views, LABELS).loss
        loss.backward()
    wanted = plain.loss(*views)
    wanted.backward()
    assert abs(loss.item() - wanted.item()) <= within
    for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad, name
        if one.requires_grad:
            assert one.grad is not None, name
            assert other.grad is not None, name
            assert_close(name, one.grad, other.grad, within=within)
        else:
            assert one.grad is None, name
    assert_close_buffers(ours, plain, within=within)


class PlainLoop:
    """The script's: SGD that decays every weight; the cosine for the encoder alone."""

    def __init__(self, plain: Plain, kind: str) -> None:
        self._plain = plain
        self._peak = RECIPES[kind].base_lr * BATCH / 256
        encoder = [p for p in plain.encoder.parameters() if p.requires_grad]
        self.sgd = torch.optim.SGD(
            [{"params": encoder}, {"params": list(plain.predictor.parameters())}],
            lr=self._peak,
            momentum=MOMENTUM,
            weight_decay=RECIPES[kind].weight_decay,
            foreach=False,
        )

    def take(self, views: tuple[torch.Tensor, torch.Tensor], *, step: int) -> None:
        progress = step / (EPOCHS * STEPS_PER_EPOCH)
        self.sgd.param_groups[0]["lr"] = self._peak * (1 + math.cos(math.pi * progress)) / 2
        self.sgd.zero_grad()
        self._plain.loss(*views).backward()
        self.sgd.step()


class Race:
    """Ours and the plain loop, side by side."""

    def __init__(self, kind: str, dtype: torch.dtype, lanes: Lanes) -> None:
        self._kind, self._dtype = kind, dtype
        self._ours, self._plain = build_pair(kind, dtype)
        self._loop = PlainLoop(self._plain, kind)
        self._rate = build_learning_rate(
            RECIPES[kind], batch_size=BATCH, epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH
        )
        self._step = build_step(self._ours, RECIPES[kind], lanes, lr=self._rate.peak)

    def take(self, number: int) -> None:
        views = make_views(self._kind, self._dtype, seed=number)
        set_learning_rate(self._step.optimizer, self._rate, step=number)
        with loss_in(self._dtype):
            self._step(views, LABELS)
            self._step.check()
        self._loop.take(views, step=number)

    def compare(self, *, growth: float) -> None:
        """Weights, momentum, running statistics."""
        gradient, value = (
            growth * within[self._dtype] for within in (GRADIENT_WITHIN, VALUE_WITHIN)
        )
        named = self._ours.named_parameters()
        for (name, one), other in zip(named, self._plain.parameters(), strict=True):
            assert_close(name, one, other, within=value)
            if one.requires_grad:
                assert_close(f"momentum of {name}", *self._momentum(one, other), within=gradient)
        assert_close_buffers(self._ours, self._plain, within=value)

    def level(self) -> None:
        """Give ours what the plain one has: weights, momentum, running statistics."""
        with torch.no_grad():
            for one, other in zip(self._ours.parameters(), self._plain.parameters(), strict=True):
                one.copy_(other)
                if one.requires_grad:
                    momentum, wanted = self._momentum(one, other)
                    momentum.copy_(wanted)
            for one, other in zip(self._ours.buffers(), self._plain.buffers(), strict=True):
                one.copy_(other)

    def _momentum(self, one: nn.Parameter, other: nn.Parameter) -> tuple[torch.Tensor, ...]:
        states = self._step.optimizer.state[one], self._loop.sgd.state[other]
        return tuple(state["momentum_buffer"] for state in states)


@pytest.mark.parametrize(
    ("kind", "dtype", "lanes"),
    [
        pytest.param("cifar", torch.float64, NO_LANE, id="cifar-float64-no lane"),
        pytest.param("cifar", torch.float64, OURS, id="cifar-float64-ours"),
        pytest.param("cifar", torch.float32, NO_LANE, id="cifar-float32-no lane"),
        pytest.param("cifar", torch.float32, OURS, id="cifar-float32-ours"),
        pytest.param("imagenet", torch.float64, OURS, id="imagenet-float64-ours", marks=SLOW),
    ],
)
def test_ten_steps_are_those_of_a_plain_loop(kind: str, dtype: torch.dtype, lanes: Lanes) -> None:
    race = Race(kind, dtype, lanes)
    for number in range(NUM_STEPS):
        race.take(number)
        if dtype == torch.float32:
            race.compare(growth=1)
            race.level()
    if dtype == torch.float64:
        race.compare(growth=GROWTH)
