"""SimCLR, BYOL, MoCo v2 and SwAV, and their crossings with SimSiam, proved: the loss, every
gradient and some steps of training equal those of plain implementations.

The backbone is a copy of ours; see `test_proof` for it. All is in float64, which our losses are
given wherever they ask for float32: rounding stays far below any change of a method.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from swiftsiam.model import moco, swav
from swiftsiam.model.method import Method

from .plain_relatives import Plain, PlainBYOL, PlainMoCo, PlainSimCLR, PlainSwAV
from .relatives_cases import (
    BASE,
    CONFIGS,
    INDEX,
    MANY,
    ROWS,
    STEPS,
    TWO,
    WITHIN,
    build,
    make_course,
    make_views,
)
from .relatives_rank import follow


def compare_gradients(ours: Method, plain: Plain) -> None:
    trained = [(name, p) for name, p in ours.named_parameters() if p.requires_grad]
    others = [p for p in plain.parameters() if p.requires_grad]
    for (name, own), other in zip(trained, others, strict=True):
        assert own.grad is not None, name
        wanted = torch.zeros_like(other) if other.grad is None else other.grad
        torch.testing.assert_close(
            own.grad, wanted, **WITHIN, msg=lambda told, n=name: f"{n}: {told}"
        )


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


@pytest.mark.parametrize("name", ["byol", "swav"])
def test_over_other_pictures_a_schedule_goes_on_where_it_would_be(name: str) -> None:
    """Not by the steps that were made, of which an epoch had others."""
    model, course = build(CONFIGS[name][0]), make_course()
    model.move_to(course.num_steps)
    if name == "byol":
        assert model.schedule.step() == 1
        model.move_to(0)
        assert model.schedule.step() == pytest.approx(model.config.momentum)
    else:
        assert model._prototypes_now().requires_grad
        frozen = model._frozen_steps
        assert frozen > 0
        model.move_to(frozen - 1)
        weight = model.prototypes.weight
        (slope,) = torch.autograd.grad(model._prototypes_now().sum(), weight)
        assert not slope.any()


def test_byols_predictor_follows_the_schedule() -> None:
    assert all(group.decays for group in build(CONFIGS["byol"][0]).parameter_groups())
    constant = build(CONFIGS["simclr with predictor"][0]).parameter_groups()[1]
    assert not constant.decays


def test_statistics_of_evaluation_are_most_of_all_those_of_whole_views() -> None:
    """The last views that pass weigh most."""
    model = build(CONFIGS["swav with small views"][0], sizes=MANY)
    passed: list[int] = []
    model.backbone.register_forward_pre_hook(lambda _, views: passed.append(views[0].shape[-1]))
    model(make_views(MANY, seed=0), INDEX)
    assert passed == sorted(MANY)


@pytest.mark.usefixtures("in_float64")
def test_nothing_is_queued_in_evaluation() -> None:
    model = build(CONFIGS["moco"][0])
    model.eval()(make_views(TWO, seed=0), INDEX)
    assert not model.newest.any()
    model.train()(make_views(TWO, seed=0), INDEX)
    assert model.newest.all()
