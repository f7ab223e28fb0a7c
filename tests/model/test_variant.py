"""SimSiam with its parts exchanged: each against what the paper says of it."""

import dataclasses
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from swiftsiam.model.method import Course, ModelConfig, build_method
from swiftsiam.model.simsiam import SimSiam, negative_cosine
from swiftsiam.model.variant import Config, Variant
from torch import nn

ROWS = 6
COURSE = Course(sizes=(32, 32), num_pictures=20, batch_size=ROWS, steps_per_epoch=3, num_steps=6)
BASE: dict[str, Any] = {
    "backbone": "cifar_resnet18_w16",
    "projector_layers": 2,
    "projector_hidden": 48,
    "projection_dim": 32,
}
INDEX = torch.tensor([3, 1, 4, 15, 9, 2])


def build(*, sizes: tuple[int, ...] = (32, 32), **keys: Any) -> Variant:
    torch.manual_seed(0)
    model = build_method(Config(**BASE | keys))
    assert isinstance(model, Variant)
    model.begin(COURSE._replace(sizes=sizes))
    return model


def make_views(count: int = 2, *, seed: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, ROWS, 3, 32, 32, generator=generator).unbind())


def train(model: Any, *, steps: int, num_views: int = 2) -> list[float]:
    """Losses of plain SGD on the same sequence of batches."""
    parameters = [p for group in model.parameter_groups() for p in group.parameters]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    losses = []
    for step in range(steps):
        index = (INDEX + step) % COURSE.num_pictures
        output = model(make_views(num_views, seed=step), index)
        losses.append(output.loss.item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        model.after_step()
    return losses


def train_simsiam(*, steps: int) -> list[float]:
    torch.manual_seed(0)
    return train(SimSiam(ModelConfig(**BASE)), steps=steps)


@pytest.mark.parametrize("keys", [{}, {"target": "held"}, {"target": "other_views"}])
def test_what_the_paper_calls_the_same_is_the_same_to_the_bit(keys: dict[str, Any]) -> None:
    """The defaults; alternation with one step (section 5.2); the one other view."""
    losses = train(build(**keys), steps=4)
    expected = train_simsiam(steps=4)
    if keys.get("target") == "other_views":  # normalised before it is compared, not after
        assert losses == pytest.approx(expected, rel=1e-5)
    else:
        assert losses == expected


def test_held_targets_are_those_of_the_encoder_at_the_beginning() -> None:
    model, mirror = build(target="held", hold_steps=3), build(target="held", hold_steps=3)
    optimizer = torch.optim.SGD(mirror.parameters(), lr=0.05, momentum=0.9)
    expected = []
    held: Any = None
    for step in range(7):
        if step % 3 == 0:  # the outer loop of section 5.2
            held = {name: tensor.clone() for name, tensor in mirror.state_dict().items()}
        now = {name: tensor.clone() for name, tensor in mirror.state_dict().items()}
        views = make_views(seed=step)
        mirror.load_state_dict(held)
        with torch.no_grad():
            z = [mirror.encode(view) for view in views]
        mirror.load_state_dict(now)
        p = [mirror.predictor(mirror.encode(view)) for view in views]
        loss = negative_cosine(p[0], z[1]) / 2 + negative_cosine(p[1], z[0]) / 2
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    losses = train(model, steps=7)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert losses[:1] == train_simsiam(steps=1)
    assert losses != train_simsiam(steps=7)


def test_without_stop_gradient_the_target_is_trained() -> None:
    """Its gradient is that of the plain loss, in which nothing is detached."""
    model, plain = build(target="shared"), build()
    views = make_views()
    model(views, INDEX).loss.backward()
    z = [plain.encode(view) for view in views]
    p = [plain.predictor(projection) for projection in z]
    (negative_cosine(p[0], z[1]) / 2 + negative_cosine(p[1], z[0]) / 2).backward()
    for (name, a), b in zip(model.named_parameters(), plain.parameters(), strict=True):
        if a.grad is not None and b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)
    stopped = build()
    stopped(views, INDEX).loss.backward()
    weight, other = model.projector[0].weight.grad, stopped.projector[0].weight.grad
    assert (weight - other).abs().max() > 0.1 * other.abs().max()


def moving_average(z: list[torch.Tensor], kept: dict[int, torch.Tensor]) -> list[torch.Tensor]:
    """η of section 5.2 by a dictionary, row by row."""
    found: list[list[torch.Tensor]] = [[], []]
    for row, index in enumerate(INDEX.tolist()):
        unit = [F.normalize(projection[row].detach(), dim=0) for projection in z]
        eta = [0.8 * kept[index] + 0.2 * u for u in unit] if index in kept else unit
        kept[index] = (eta[0] + eta[1]) / 2
        for rows, e in zip(found, eta, strict=True):
            rows.append(e)
    return [torch.stack(found[1]), torch.stack(found[0])]


def test_the_average_of_a_picture_is_its_own() -> None:
    model, plain = (
        build(target="picture_average", predictor="identity"),
        build(predictor="identity"),
    )
    kept: dict[int, torch.Tensor] = {}
    for step in range(3):
        views = make_views(seed=step)
        z = [plain.encode(view) for view in views]
        targets = moving_average(z, kept)
        expected = sum(negative_cosine(a, b) / 2 for a, b in zip(z, targets, strict=True))
        torch.testing.assert_close(model(views, INDEX).loss, expected)
    assert model.target.seen.sum() == ROWS  # type: ignore[operator]


def test_a_velocity_goes_on_moving() -> None:
    """A picture that stays at one place is passed and come back to, as by any momentum."""
    model = build(target="picture_average", target_momentum=0.5, target_velocity=0.5)
    first, second = torch.zeros(1, 32), torch.zeros(1, 32)
    first[0, 0] = second[0, 1] = 1
    row = torch.tensor([7])
    seen = []
    for z in (first, second, second, second):
        model.target((z, z), (z, z), row)
        seen.append(model.target.eta[7, 1].item())  # type: ignore[index]
    eta, velocity, expected = 0.0, 0.0, [0.0]
    for _ in range(3):
        velocity = 0.5 * velocity + (1 - eta)
        eta += 0.5 * velocity
        expected.append(eta)
    assert seen == pytest.approx(expected)
    assert max(seen) > 1


def test_four_views_are_two_pairs_or_all_others() -> None:
    views = make_views(4)
    sizes = (32,) * 4
    whole = build(sizes=sizes)(views, INDEX).loss
    halves = [build()(views[:2], INDEX).loss, build()(views[2:], INDEX).loss]
    torch.testing.assert_close(whole, sum(halves) / 2)
    model, plain = build(sizes=sizes, target="other_views", predictor="identity"), build()
    z = [plain.encode(view) for view in views]
    unit = [F.normalize(projection, dim=1).detach() for projection in z]
    losses = []
    for number, projection in enumerate(z):
        others = [u for other, u in enumerate(unit) if other != number]
        losses.append(negative_cosine(projection, sum(others) / 3))  # type: ignore[arg-type]
    torch.testing.assert_close(model(views, INDEX).loss, sum(losses) / 4)


def test_asymmetric_draws_the_first_view_alone() -> None:
    views = make_views()
    plain = build()
    z1, z2 = plain.encode(views[0]), plain.encode(views[1])
    expected = negative_cosine(plain.predictor(z1), z2.detach())
    torch.testing.assert_close(build(symmetry="asymmetric")(views, INDEX).loss, expected)


def test_cross_entropy_is_along_the_channels() -> None:
    views = make_views()
    plain = build()
    z = [plain.encode(view) for view in views]
    p = [plain.predictor(projection) for projection in z]
    expected = sum(
        -(a.detach().softmax(1) * b.log_softmax(1)).sum(1).mean() / 2
        for a, b in ((z[1], p[0]), (z[0], p[1]))
    )
    torch.testing.assert_close(build(similarity="cross_entropy")(views, INDEX).loss, expected)


def count_norms(head: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm1d) for module in head.modules())


@pytest.mark.parametrize(
    ("norm", "projector", "predictor"),
    [("nowhere", 0, 0), ("hidden", 1, 1), ("output", 2, 1), ("predictor", 2, 2)],
)
def test_norms_stand_where_the_paper_has_them(norm: Any, projector: int, predictor: int) -> None:
    model = build(head_norm=norm)
    assert (count_norms(model.projector), count_norms(model.predictor)) == (projector, predictor)
    for head in (model.projector, model.predictor):
        layers = list(head)  # type: ignore[call-overload]
        for layer, behind in zip(layers, [*layers[1:], None], strict=True):
            if isinstance(layer, nn.Linear):  # a BN would cancel a bias that is trained
                is_trained = layer.bias is not None and layer.bias.requires_grad
                assert is_trained != isinstance(behind, nn.BatchNorm1d)


def test_predictors_that_are_not_trained() -> None:
    fixed, none = build(predictor="fixed"), build(predictor="identity")
    before = [p.clone() for p in fixed.predictor.parameters()]
    train(fixed, steps=2)
    assert all(map(torch.equal, before, fixed.predictor.parameters()))
    assert len(fixed.parameter_groups()) == len(none.parameter_groups()) == 1
    views = make_views()
    z1, z2 = none.encode(views[0]), none.encode(views[1])
    torch.testing.assert_close(none(views, INDEX).loss, negative_cosine(z1, z2))


def test_depth_of_the_heads() -> None:
    model = build(projector_layers=4, predictor_layers=1)
    assert sum(isinstance(m, nn.Linear) for m in model.projector.modules()) == 4
    assert [type(m) for m in model.predictor] == [nn.Linear]  # type: ignore[union-attr]


@pytest.mark.parametrize("target", ["picture_average", "other_views"])
def test_unit_targets_have_no_softmax(target: Any) -> None:
    with pytest.raises(ValueError, match=r"set model\.similarity=cosine"):
        build(target=target, similarity="cross_entropy")


def test_a_picture_that_comes_twice_in_a_batch_is_kept_once() -> None:
    """As the neighbour that takes a bad sample's place may."""
    model = build(target="picture_average", target_velocity=0.5)
    z = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    model.target(tuple(z), tuple(z), torch.tensor([5, 7, 5]))
    expected = F.normalize(z[:, 0], dim=1).mean(0)
    torch.testing.assert_close(model.target.eta[5], expected)  # type: ignore[index]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"hold_steps": 10}, "model.hold_steps=10: does nothing with model.target=stop_gradient"),
        ({"target": "held", "target_momentum": 0.5}, "set model.target=picture_average"),
        ({"target_velocity": 0.5}, "model.target_velocity=0.5: does nothing"),
        ({"predictor": "identity", "predictor_layers": 3}, "model.predictor=identity; leave it"),
    ],
)
def test_a_key_that_does_nothing_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        build(**keys)


@pytest.mark.parametrize("sizes", [(32,), (32, 32, 32), (32, 32, 16, 16)])
def test_views_that_are_no_pairs_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"augment\.num_views=2"):
        build(sizes=sizes)


def test_simsiam_takes_two_views() -> None:
    model = SimSiam(ModelConfig(**BASE))
    with pytest.raises(ValueError, match=r"model\.method=simsiam takes 2"):
        model.begin(COURSE._replace(sizes=(32,) * 4))


def test_all_that_moves_is_in_the_state() -> None:
    """A run that goes on from a state goes on to the same bits."""
    keys = {"target": "held", "hold_steps": 3}
    whole, half = build(**keys), build(**keys)
    train(whole, steps=2)
    train(half, steps=2)
    other = build(**keys)
    other.load_state_dict(half.state_dict())
    views = make_views(seed=9)
    assert torch.equal(other(views, INDEX).loss, whole(views, INDEX).loss)


def test_every_key_of_simsiam_is_one_of_its_variant() -> None:
    """So that a recipe goes with either."""
    own = {field.name for field in dataclasses.fields(ModelConfig)}
    assert own < {field.name for field in dataclasses.fields(Config)}


def test_collapse_is_told_by_loss_and_spread() -> None:
    model, free = build(), build(head_norm="hidden")
    for loss, z_std in ((-0.95, 0.9), (-0.5, 0.01)):
        assert model.diagnose({"loss": loss, "z_std": z_std}) is None
    # As on CIFAR-10 without stop-gradient; and where no BN keeps the projections of a batch apart.
    assert "become one" in (model.diagnose({"loss": -0.952, "z_std": 0.296}) or "")
    assert free.diagnose({"loss": -0.952, "z_std": 0.296}) is None
    assert "become one" in (free.diagnose({"loss": -0.997, "z_std": 0.061}) or "")
