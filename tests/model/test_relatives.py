"""SimCLR, BYOL, MoCo v2 and SwAV, and their crossings with SimSiam, proved: the loss, every
gradient and some steps of training equal those of plain implementations, written here from the
papers: sums row by row, copies of modules, a list for a queue, matrices scaled in turn. And two
processes that share each batch do what one does with all of it.

The backbone is a copy of ours; see `test_proof` for it. All is in float64, which our losses are
given wherever they ask for float32: rounding stays far below any change of a method.
"""

import copy
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from swiftsiam.model import byol, moco, simclr, swav, variant
from swiftsiam.model.method import Course, Method, ModelConfig, build_method
from torch import nn

from . import relatives_rank
from .relatives_rank import Case, Made, follow

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


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


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


def linear_norm_relu(before: int, width: int) -> list[nn.Module]:
    return [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]


def linear_norm(before: int, width: int) -> list[nn.Module]:
    """The bias is what BatchNorm takes away again; it is there and not trained."""
    last = nn.Linear(before, width)
    last.bias.requires_grad = False
    return [last, nn.BatchNorm1d(width, affine=False)]


def bottleneck() -> list[nn.Module]:
    """SimSiam's predictor, and BYOL's."""
    return [*linear_norm_relu(WIDTH, NARROW), nn.Linear(NARROW, WIDTH)]


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.square().sum(dim=1, keepdim=True).sqrt()


class Plain(nn.Module):
    """A method written from its paper, with the weights of ours."""

    def __init__(self, ours: Any, projector: list[nn.Module], predictor: list[nn.Module]) -> None:
        super().__init__()
        self.config = ours.config
        self.backbone = copy.deepcopy(ours.backbone)
        self.projector, self.predictor = nn.Sequential(*projector), nn.Sequential(*predictor)
        for own, head in ((self.projector, ours.projector), (self.predictor, ours.predictor)):
            pairs = zip(own.state_dict().values(), head.state_dict().values(), strict=True)
            for target, source in pairs:  # all of both are used
                assert target.shape == source.shape
                target.copy_(source)
        self.double()

    def encode(self, view: torch.Tensor) -> torch.Tensor:
        return self.projector(self.backbone(view))

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        raise NotImplementedError

    def after_step(self) -> None:
        """Behind each update."""

    def check(self, ours: Any) -> None:
        """What else moves in ours."""


class PlainSimCLR(Plain):
    """Equation 1 and algorithm 1; the projector with BN in both layers, as in its code."""

    def __init__(self, ours: Any) -> None:
        predictor = bottleneck() if ours.config.predictor == "mlp" else []
        projector = [*linear_norm_relu(FEATURES, HIDDEN), *linear_norm(HIDDEN, WIDTH)]
        super().__init__(ours, projector, predictor)

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Over rows i of both views: -log exp(s_ij / τ) / Σ_{k ≠ i} exp(s_ik / τ)."""
        z = [self.encode(view) for view in views]
        queries = [row / row.norm() for projection in z for row in self.predictor(projection)]
        keys = [row / row.norm() for projection in z for row in projection]
        if self.config.stop_gradient:
            keys = [key.detach() for key in keys]
        losses = []
        for i, query in enumerate(queries):
            partner = (i + ROWS) % (2 * ROWS)
            near = [(query.dot(key) / self.config.temperature).exp() for key in keys]
            others = [similarity for k, similarity in enumerate(near) if k != i]
            losses.append(-(near[partner] / sum(others)).log())
        return torch.stack(losses).mean()


class PlainBYOL(Plain):
    """Section 3: L = ‖q̄ - z̄'‖² = 2 - 2 cos, symmetrised; ours is that over 4, less 1. The target
    network has another τ in each step k of K: τ = 1 - (1 - τ_base) (cos(π k / K) + 1) / 2.
    """

    def __init__(self, ours: Any) -> None:
        projector = [*linear_norm_relu(FEATURES, HIDDEN), nn.Linear(HIDDEN, WIDTH)]
        super().__init__(ours, projector, bottleneck())
        self.targets = copy.deepcopy(nn.Sequential(self.backbone, self.projector))
        self.step = 0
        for weight in self.targets.parameters():
            weight.requires_grad = False

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        predictions = [unit(self.predictor(self.encode(view))) for view in views]
        targets = [unit(self.targets(view)) for view in views]
        pairs = ((predictions[0], targets[1]), (predictions[1], targets[0]))
        whole = sum((q - z).square().sum(dim=1).mean() for q, z in pairs)
        return torch.as_tensor(whole / 4 - 1)

    def after_step(self) -> None:
        base, num_steps = self.config.momentum, make_course().num_steps
        tau = 1 - (1 - base) * (math.cos(math.pi * self.step / num_steps) + 1) / 2
        self.step += 1
        followed = [*self.backbone.parameters(), *self.projector.parameters()]
        for own, other in zip(self.targets.parameters(), followed, strict=True):
            own.copy_(tau * own + (1 - tau) * other.detach())

    def check(self, ours: Any) -> None:
        compare_copies(ours.momentum_encoder, self.targets)


class PlainMoCo(Plain):
    """Algorithm 1 of MoCo with v2's projector, for either view as the query; the queue is a list,
    from the oldest key to the newest.
    """

    def __init__(self, ours: Any) -> None:
        projector = [nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)]
        super().__init__(ours, projector, [])
        self.keys = copy.deepcopy(nn.Sequential(self.backbone, self.projector))
        for weight in self.keys.parameters():
            weight.requires_grad = False
        self.queue = [key.clone() for key in ours.queue]

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        keys = [unit(self.keys(view)) for view in views]
        losses = []
        for query, positives in zip(map(self.encode, views), reversed(keys), strict=True):
            for q, positive in zip(unit(query), positives, strict=True):
                scores = [q.dot(key) / self.config.temperature for key in (positive, *self.queue)]
                losses.append(-(scores[0].exp() / sum(score.exp() for score in scores)).log())
        self.queue = [*self.queue, *keys[0], *keys[1]][-len(self.queue) :]
        return torch.stack(losses).mean()

    def after_step(self) -> None:
        followed = [*self.backbone.parameters(), *self.projector.parameters()]
        keep = self.config.momentum
        for own, other in zip(self.keys.parameters(), followed, strict=True):
            own.copy_(keep * own + (1 - keep) * other.detach())

    def check(self, ours: Any) -> None:
        compare_copies(ours.momentum_encoder, self.keys)
        by_age = ours.queue.roll(-ours.place.item(), dims=0)
        torch.testing.assert_close(by_age, torch.stack(self.queue), **WITHIN)


def plain_sinkhorn(scores: torch.Tensor, *, epsilon: float, rounds: int) -> torch.Tensor:
    """(B, K) → codes (B, K), as in the paper's listing: Q is K × B, clusters and samples in turn
    get the same share each.
    """
    q = (scores / epsilon).exp().T
    q = q / q.sum()
    for _ in range(rounds):
        q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
        q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
    return q.T * q.shape[1]


class PlainSwAV(Plain):
    """Section 3 with multi-crop: codes of the first two views, predicted from all others."""

    def __init__(self, ours: Any) -> None:
        predictor = bottleneck() if ours.config.predictor == "mlp" else []
        projector = [*linear_norm_relu(FEATURES, HIDDEN), nn.Linear(HIDDEN, WIDTH)]
        super().__init__(ours, projector, predictor)
        self.prototypes = copy.deepcopy(ours.prototypes)
        self.step = 0

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.no_grad():
            self.prototypes.weight.copy_(unit(self.prototypes.weight))
        frozen = self.step < self.config.freeze_epochs * make_course().steps_per_epoch
        prototypes = self.prototypes.weight.detach() if frozen else self.prototypes.weight
        z = [self.encode(view) for view in views]
        p = [self.predictor(projection) for projection in z]
        losses = []
        for number in range(2):
            scores = unit(z[number]) @ prototypes.T
            if self.config.stop_gradient:
                scores = scores.detach()
            codes = plain_sinkhorn(
                scores, epsilon=self.config.epsilon, rounds=self.config.sinkhorn_iterations
            )
            for view, prediction in enumerate(p):
                if view != number:
                    near = (unit(prediction) @ prototypes.T / self.config.temperature).exp()
                    share = near / near.sum(dim=1, keepdim=True)
                    losses.append(-(codes * share.log()).sum(dim=1).mean())
        return torch.stack(losses).mean()

    def after_step(self) -> None:
        self.step += 1

    def check(self, ours: Any) -> None:
        torch.testing.assert_close(ours.prototypes.weight, unit(self.prototypes.weight), **WITHIN)


def compare_copies(ours: Any, plain: nn.Sequential) -> None:
    """Weights and BatchNorm's statistics of a momentum encoder."""
    for (name, own), other in zip(
        ours.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(own, other, **WITHIN, msg=lambda told, n=name: f"{n}: {told}")


def compare_gradients(ours: Method, plain: Plain) -> None:
    trained = [(name, p) for name, p in ours.named_parameters() if p.requires_grad]
    others = [p for p in plain.parameters() if p.requires_grad]
    for (name, own), other in zip(trained, others, strict=True):
        assert own.grad is not None, name
        wanted = torch.zeros_like(other) if other.grad is None else other.grad
        torch.testing.assert_close(
            own.grad, wanted, **WITHIN, msg=lambda told, n=name: f"{n}: {told}"
        )


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
PLAIN: dict[str, Callable[[Any], Plain]] = {
    "simclr": PlainSimCLR,
    "byol": PlainBYOL,
    "moco": PlainMoCo,
    "swav": PlainSwAV,
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.usefixtures("in_float64")
def test_steps_are_those_of_the_paper(name: str) -> None:
    """Losses and all gradients in each step, and what moves beside: copies, queue, prototypes."""
    config, sizes = CONFIGS[name]
    ours = build(config, sizes=sizes)
    plain = PLAIN[config.method](ours)
    parameters = [p for group in ours.parameter_groups() for p in group.parameters]
    assert len(parameters) == sum(p.requires_grad for p in ours.parameters())
    descents = [
        torch.optim.SGD(parameters, lr=0.02, momentum=0.9),
        torch.optim.SGD([p for p in plain.parameters() if p.requires_grad], lr=0.02, momentum=0.9),
    ]
    for step in range(STEPS):
        views = make_views(sizes, seed=step)
        loss, wanted = ours(views, INDEX).loss, plain.loss(views)
        torch.testing.assert_close(loss, wanted, **WITHIN)
        for descent, value in zip(descents, (loss, wanted), strict=True):
            descent.zero_grad()
            value.backward()
        compare_gradients(ours, plain)
        with torch.no_grad():
            for descent, model in zip(descents, (ours, plain), strict=True):
                descent.step()
                model.after_step()
            plain.check(ours)


def test_queued_keys_must_fit() -> None:
    config = moco.Config(**BASE, queue=2 * ROWS - 1)
    with pytest.raises(ValueError, match=rf"model\.queue={2 * ROWS} or more"):
        build(config)


@pytest.mark.parametrize("name", ["simclr", "byol", "moco"])
def test_two_views_no_more(name: str) -> None:
    with pytest.raises(ValueError, match=rf"model\.method={name} takes 2"):
        build(CONFIGS[name][0], sizes=MANY)


def test_one_view_has_nothing_to_predict() -> None:
    with pytest.raises(ValueError, match="swav takes 2 or more"):
        build(CONFIGS["swav"][0], sizes=(32,))


def test_codes_are_distributions_that_use_all_clusters_alike() -> None:
    """Also where exp(scores) would overflow."""
    scores = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)) * 300
    codes = swav.sinkhorn(scores, num_iterations=5000)
    torch.testing.assert_close(codes.sum(1), torch.ones(12))
    torch.testing.assert_close(codes.sum(0), torch.full((4,), 3.0), rtol=1e-2, atol=0)


@pytest.mark.parametrize("name", ["byol", "moco", "swav"])
@pytest.mark.usefixtures("in_float64")
def test_all_that_moves_is_in_the_state(name: str) -> None:
    """A run that goes on from a state goes on to the same bits, gradients and copies as well."""
    config, sizes = CONFIGS[name]
    batches = [(make_views(sizes, seed=step), INDEX) for step in range(4)]
    whole, other = build(config, sizes=sizes), build(config, sizes=sizes)
    follow(whole, whole, batches[:2])
    other.load_state_dict(whole.state_dict())
    ends = [follow(model, model, batches[2:]) for model in (whole, other)]
    for own, wanted in zip(ends[0].losses, ends[1].losses, strict=True):
        assert torch.equal(own, wanted)
    for key, own in ends[0].state.items():
        assert torch.equal(own, ends[1].state[key]), key


@pytest.mark.usefixtures("in_float64")
def test_nothing_is_queued_in_evaluation() -> None:
    model = build(CONFIGS["moco"][0])
    model.eval()(make_views(TWO, seed=0), INDEX)
    assert not model.newest.any()
    model.train()(make_views(TWO, seed=0), INDEX)
    assert model.newest.all()


RANKED = {
    name: CONFIGS[name]
    for name in (
        "simclr", "simclr with predictor", "simclr with both", "byol", "swav",
        "swav with small views", "swav without stop-gradient", "swav with both",
    )
}  # fmt: skip
RANKED["moco"] = CONFIGS["moco"]
for velocity in (0.0, 0.5):
    RANKED[f"picture average, velocity {velocity}"] = (
        variant.Config(**BASE, target="picture_average", target_velocity=velocity),
        TWO,
    )
RANK_STEPS = 4
TIMEOUT_S = 550


def make_case(config: ModelConfig, sizes: tuple[int, ...], *, compiled: bool = False) -> Case:
    batches = [(make_views(sizes, seed=step), make_index(step=step)) for step in range(RANK_STEPS)]
    state = build(config, sizes=sizes).state_dict()
    return Case(config, make_course(sizes), state, batches, compiled)


def run_ranks(cases: dict[str, Case], folder: Path) -> list[dict[str, Made]]:
    """What two processes have made of them, each."""
    torch.save({name: tuple(case) for name, case in cases.items()}, folder / "cases.pt")
    ranks = [
        subprocess.Popen(
            [sys.executable, relatives_rank.__file__, str(folder), str(rank)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        _, told = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, told[-3000:]
    halves = [torch.load(folder / f"made-{rank}.pt", weights_only=False) for rank in range(2)]
    return [{name: Made(*made) for name, made in half.items()} for half in halves]


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Made]]:
    cases = {name: make_case(*RANKED[name]) for name in RANKED}
    return run_ranks(cases, tmp_path_factory.mktemp("ranks"))


def compare_ranks(halves: list[Made], whole: Made, **within: Any) -> None:
    """Losses, whose mean counts; gradients, averaged already; and all that is kept."""
    for step, wanted in enumerate(whole.losses):
        losses = torch.stack([half.losses[step] for half in halves])
        torch.testing.assert_close(losses.mean(), wanted, **within)
        for name, gradient in whole.gradients[step].items():
            one, other = (half.gradients[step][name] for half in halves)
            assert torch.equal(one, other), name
            torch.testing.assert_close(
                one, gradient, **within, msg=lambda told, n=name, s=step: f"{s} {n}: {told}"
            )
    for name, wanted in whole.state.items():
        one, other = (half.state[name] for half in halves)
        assert torch.equal(one, other), name
        torch.testing.assert_close(one, wanted, **within, msg=lambda told, n=name: f"{n}: {told}")


@pytest.mark.slow
@pytest.mark.parametrize("name", RANKED)
@pytest.mark.usefixtures("in_float64")
def test_two_processes_do_what_one_does(ranked: list[dict[str, Made]], name: str) -> None:
    """Each with half of the rows; the queue and the pictures' averages are the same on both."""
    model = relatives_rank.build(case := make_case(*RANKED[name]))
    whole = follow(model, model, case.batches)
    compare_ranks([half[name] for half in ranked], whole, **WITHIN)
    assert len({loss.item() for loss in ranked[0][name].losses}) == RANK_STEPS
    parts = [half[name].losses[0].item() for half in ranked]
    assert parts[0] != pytest.approx(parts[1], rel=1e-3)  # of other rows


# In float32, in which the compiler's kernels round otherwise than the eager ones; BatchNorm over
# few rows amplifies it.
COMPILED_WITHIN = 1e-3
COMPILED_STEPS = 2
COMPILED = ["simclr with both", "byol", "moco", "swav with small views", "swav with both"]
COMPILED += ["picture average, velocity 0.5"]


def make_compiled_case(name: str) -> Case:
    config, sizes = RANKED[name]
    torch.manual_seed(0)
    model = build_method(config)
    model.begin(make_course(sizes))
    relatives_rank.shrink(model)
    batches = [
        (tuple(view.float() for view in make_views(sizes, seed=step)), make_index(step=step))
        for step in range(COMPILED_STEPS)
    ]
    return Case(config, make_course(sizes), model.state_dict(), batches, compiled=True)


def compare_norms(made: Made, wanted: Made) -> None:
    """Losses, and each gradient by the norm of all together."""
    for step, gradients in enumerate(wanted.gradients):
        torch.testing.assert_close(
            made.losses[step], wanted.losses[step], rtol=COMPILED_WITHIN, atol=COMPILED_WITHIN
        )
        size = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        for name, gradient in gradients.items():
            error = (made.gradients[step][name] - gradient).norm() / size
            assert error <= COMPILED_WITHIN, f"{step} {name}: off by {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_in_one_graph(name: str) -> None:
    """No break, and none made anew; losses and gradients are the eager ones."""
    case = make_compiled_case(name)
    eager, compiled = (relatives_rank.build(case) for _ in range(2))
    torch._dynamo.reset()
    compiled.compile(fullgraph=True, dynamic=False)
    with torch._dynamo.config.patch(error_on_recompile=True):
        made = follow(compiled, compiled, case.batches)
    compare_norms(made, follow(eager, eager, case.batches))
