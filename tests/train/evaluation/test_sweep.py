"""Softmax regression at many rates at once, against one rate at a time by autograd."""

from typing import Any

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.evaluation import sweep as module
from swiftsiam.train.evaluation.features import CachedFeatures
from swiftsiam.train.evaluation.sweep import RATES, Head, find_accuracy, sweep

pytestmark = pytest.mark.usefixtures("single_thread")

CLASSES, WIDTH = 4, 12
SETTINGS: dict[str, Any] = {"num_classes": CLASSES, "epochs": 2, "batch_size": 32, "seed": 0}


def make(count: int, *, seed: int, noise: float = 1.0) -> CachedFeatures:
    """Clusters around fixed centres, one feature that never changes, and a large one."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    labels = generator.integers(0, CLASSES, count)
    features = centres[labels] + noise * generator.normal(size=(count, WIDTH))
    features[:, 3] = 7.0
    features[:, 5] *= 50
    return CachedFeatures(features.astype(np.float16), labels)


def fit_plainly(
    data: CachedFeatures, rows: np.ndarray, *, rate: float, epochs: int, batch_size: int, seed: int
) -> torch.nn.Linear:
    """The same by torch's own layer, loss and optimiser."""
    x = torch.from_numpy(data.features[rows].astype(np.float64))
    std = x.std(0, correction=0)
    scale = torch.where(std > 1e-4, 1 / (std * WIDTH**0.5), 0)
    mean = x.mean(0)
    head = torch.nn.Linear(WIDTH, CLASSES).double()
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(head.parameters(), lr=rate, momentum=0.9)
    steps = epochs * -(-len(rows) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + np.cos(np.pi * step / steps))
    )
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(rows)
        for first in range(0, len(order), batch_size):
            part = np.sort(order[first : first + batch_size])
            views = torch.from_numpy(data.features[part].astype(np.float64))
            logits = head((views - mean) * scale)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                logits, torch.from_numpy(data.labels[part])
            ).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head.weight *= scale
        head.bias -= head.weight @ mean
    return head


def assert_close(head: Head, plain: torch.nn.Linear) -> None:
    """The one in float32, the other in float64."""
    for one, other in ((head.weight, plain.weight), (head.bias, plain.bias)):
        torch.testing.assert_close(one.double(), other.detach(), rtol=1e-3, atol=1e-4)


def test_each_head_is_what_its_rate_alone_would_make() -> None:
    data, rows = make(300, seed=0), np.arange(250)
    settings = {"epochs": 3, "batch_size": 64, "seed": 4}
    heads = module._fit(
        data, rows, rates=(0.1, 1.0, 10.0), num_classes=CLASSES, device="cpu", **settings
    )
    for rate, head in zip((0.1, 1.0, 10.0), heads, strict=True):
        assert_close(head, fit_plainly(data, rows, rate=rate, **settings))
        assert (head.weight[:, 3] == 0).all()


def test_the_best_rate_is_chosen_by_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data, calls, plain = make(400, seed=1, noise=2.0), [], module._fit

    def fit(data: CachedFeatures, rows: np.ndarray, **options: Any) -> list[Head]:
        calls.append((set(rows.tolist()), options["rates"]))
        return plain(data, rows, **options)

    monkeypatch.setattr(module, "_fit", fit)
    found = sweep(data, **SETTINGS | {"epochs": 5})
    assert found.held_out[found.rate] == max(found.held_out.values())
    assert len(set(found.held_out.values())) > 1
    held = set(module.choose_labelled(data.labels, percent=10, seed=0).tolist())
    (kept, tried), (all_of_it, best) = calls
    assert 36 <= len(held) <= 44
    assert kept == set(range(400)) - held
    assert tried == RATES
    assert all_of_it == set(range(400))
    assert best == (found.rate,)


def test_the_head_is_trained_on_all_of_it() -> None:
    data = make(200, seed=2)
    found = sweep(data, **SETTINGS, rates=(1.0,))
    plain = fit_plainly(data, np.arange(200), rate=1.0, epochs=2, batch_size=32, seed=0)
    assert_close(found.head, plain)
    top1, top5 = find_accuracy(found.head, data, device="cpu")
    logits = plain(torch.from_numpy(data.features.astype(np.float64)))
    right = (logits.argmax(1).numpy() == data.labels).mean()
    assert top1 == pytest.approx(100 * right, abs=0.6)
    assert top5 == 100
    assert top1 > 60


def test_a_rate_that_diverges_harms_no_other() -> None:
    data = make(200, seed=3)
    alone = sweep(data, **SETTINGS, rates=(1.0,))
    found = sweep(data, **SETTINGS, rates=(float("inf"), 1.0))
    assert found.rate == 1.0
    torch.testing.assert_close(found.head.weight, alone.head.weight)
    with pytest.raises(UserError, match="no learning rate"):
        sweep(data, **SETTINGS, rates=(float("inf"),))


def test_pictures_without_a_label_are_left_out() -> None:
    data = make(200, seed=4)
    labels = np.where(np.arange(200) % 2, data.labels, -1)
    found = sweep(data._replace(labels=labels), **SETTINGS)
    others = np.where(np.arange(200)[:, None] % 2, data.features, 0).astype(np.float16)
    same = sweep(CachedFeatures(others, labels), **SETTINGS)
    assert torch.equal(found.head.weight, same.head.weight)
    few = CachedFeatures(data.features[:2], np.array([0, 1]))
    with pytest.raises(UserError, match="too few"):
        sweep(few, **SETTINGS)
