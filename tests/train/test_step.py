"""A step that goes wrong changes nothing that is kept, whatever comes after it."""

import pytest
import torch
from swiftsiam.model.method import ModelConfig
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.train.optim import OptimConfig, build_optimizer, load_optimizer
from swiftsiam.train.step import DivergedError, TrainStep

CONFIG = ModelConfig(
    backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=16, projection_dim=16
)

LABELS = torch.full((4,), -1)


def build(*, scaled: bool = False) -> tuple[SimSiam, torch.optim.SGD, TrainStep]:
    torch.manual_seed(0)
    model = SimSiam(CONFIG)
    optimizer = build_optimizer(model, OptimConfig(), lr=0.05)
    step = TrainStep(
        model,
        optimizer,
        autocast=torch.autocast("cpu", dtype=torch.bfloat16, enabled=False),
        scaler=torch.amp.GradScaler("cpu", enabled=scaled, init_scale=8.0),
    )
    return model, optimizer, step


def views(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 4, 3, 16, 16, generator=generator)
    return one, other


def learnt(model: SimSiam, optimizer: torch.optim.SGD) -> list[torch.Tensor]:
    """Copies of weights and momentum."""
    momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
    return [tensor.detach().clone() for tensor in (*model.parameters(), *momentum)]


def poisoned(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    one, other = views(seed)
    one[0, 0, 0, 0] = float("nan")
    return one, other


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("num_before", [0, 2])
def test_a_loss_that_is_not_finite_never_reaches_the_weights(num_before: int, scaled: bool) -> None:
    model, optimizer, step = build(scaled=scaled)
    for seed in range(num_before):
        step(views(seed), LABELS)
    before = learnt(model, optimizer)
    step(poisoned(7), LABELS)
    step(views(8), LABELS)  # nor does what comes behind it: the running statistics hold the NaN
    assert all(map(torch.equal, learnt(model, optimizer), before))
    with pytest.raises(DivergedError) as caught:
        step.check()
    assert caught.value.num_lost == 2
    with pytest.raises(DivergedError) as caught:
        step.take_figures()
    assert caught.value.num_lost == 2


def test_a_gradient_that_is_not_finite_never_reaches_the_weights() -> None:
    model, optimizer, step = build()
    step(views(0), LABELS)
    before = learnt(model, optimizer)
    weight = model.predictor[3].weight
    hook = weight.register_hook(lambda gradient: gradient * float("inf"))
    step(views(1), LABELS)
    hook.remove()
    assert all(map(torch.equal, learnt(model, optimizer), before))
    with pytest.raises(DivergedError):
        step.check()


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_good_steps_are_those_of_plain_sgd(scaled: bool) -> None:
    model, _, step = build(scaled=scaled)
    plain = SimSiam(CONFIG)
    plain.load_state_dict(model.state_dict())
    parameters = [p for p in plain.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-4, foreach=False)
    losses = []
    for seed in range(4):
        step(views(seed), LABELS)
        loss = plain(views(seed), LABELS).loss
        loss.backward()
        sgd.step()
        sgd.zero_grad()
        losses.append(loss.item())
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert step.take_figures()["loss"] == pytest.approx(sum(losses) / 4, abs=1e-5)


def test_a_skipped_first_step_leaves_no_garbage_in_the_momentum() -> None:
    model, optimizer, step = build()
    step(poisoned(0), LABELS)
    momentum = learnt(model, optimizer)[len(list(model.parameters())) :]
    assert momentum
    assert not any(tensor.any() for tensor in momentum)


def test_a_loaded_optimizer_keeps_its_configured_rates_and_its_kind() -> None:
    model, optimizer, step = build()
    step(views(0), LABELS)
    saved = optimizer.state_dict()
    other = build_optimizer(model, OptimConfig(weight_decay=0.5), lr=0.7)
    load_optimizer(other, saved)
    for group in other.param_groups:
        assert (group["lr"], group["weight_decay"], group["fused"]) == (0.7, 0.5, True)
    buffers = [state["momentum_buffer"] for state in other.state.values()]
    assert all(map(torch.equal, buffers, learnt(model, optimizer)[-len(buffers) :]))


@pytest.mark.parametrize("with_good", [False, True])
def test_figures_of_version_0_1_0_can_be_loaded(with_good: bool) -> None:
    _, _, step = build()
    step(views(0), LABELS)
    state = step.state()
    numbers = [*state["sums"].values(), *([state["num_good"]] if with_good else [])]
    old = {"sums": torch.stack(numbers), "count": 1, "scaler": {}}
    other = build()[2]
    other.load(old)
    assert other.take_figures() == step.take_figures()


def test_figures_that_a_checkpoint_lacks_begin_anew() -> None:
    _, _, step = build()
    step(views(0), LABELS)
    state = step.state()
    del state["sums"]["z_std"]
    other = build()[2]
    other.load(state)
    other(views(1), LABELS)
    once = build()[2]
    once(views(1), LABELS)
    assert other.take_figures() == once.take_figures()


def test_slow_figures_come_when_asked_for_alone() -> None:
    _, _, step = build()
    step(views(0), LABELS)
    assert list(step.take_figures()) == ["loss", "z_std"]
    step(views(0), LABELS)
    figures = step.take_figures(inspected=True)
    assert list(figures) == ["loss", "z_std", "effective_rank"]
    assert 1 <= figures["effective_rank"] <= 4
