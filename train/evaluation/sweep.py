"""Softmax regression on cached features at many learning rates at once.

All heads lie in one matrix, so that a batch is read and multiplied once for all of them; features
are standardised, by the statistics of what is trained on, and divided by √d, so that the rates mean
the same for any backbone. Heads whose rate is too high diverge, and are not chosen.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ...pipeline.errors import UserError
from .asked import choose_labelled
from .features import CachedFeatures

RATES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_MOMENTUM = 0.9
_HELD_OUT = 10.0  # percent of each class
_CHUNK = 4096
_LEAST_STD = 1e-4


class Head(NamedTuple):
    """A linear classifier of features as the network makes them."""

    weight: torch.Tensor
    """(C, d) float32."""
    bias: torch.Tensor
    """(C,) float32."""


class Swept(NamedTuple):
    """What a sweep has found."""

    head: Head
    """Trained on all that was given, at the best rate."""
    rate: float
    held_out: dict[float, float]
    """Rate → accuracy on the part that it was not trained on, percent."""


def sweep(
    train: CachedFeatures,
    *,
    num_classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str = "cpu",
    rates: tuple[float, ...] = RATES,
) -> Swept:
    """The best of some learning rates, by a tenth of each class that it does not train on; the
    classifier is then trained on all of it.

    Args:
        train: features with labels; -1 is no label.
        num_classes: of the labels.
        epochs: of each training.
        batch_size: pictures of a step; all of them where they are fewer.
        seed: of the split and the order.
        device: to compute on.
        rates: to be tried.

    Raises:
        UserError: too few pictures to hold any out, or no rate that works.
    """
    labelled = np.flatnonzero(train.labels >= 0)
    held = choose_labelled(train.labels, percent=_HELD_OUT, seed=seed)
    kept = np.setdiff1d(labelled, held)
    if not len(kept):
        raise UserError(f"TRAIN: {len(labelled)} labelled pictures are too few to hold some out")
    settings = {"num_classes": num_classes, "epochs": epochs, "seed": seed, "device": device}
    heads = _fit(train, kept, rates=rates, batch_size=batch_size, **settings)
    right = count_right(heads, train, held, device=device)
    held_out = {rate: 100 * n / len(held) for rate, n in zip(rates, right, strict=True)}
    works = {
        rate: share
        for (rate, share), head in zip(held_out.items(), heads, strict=True)
        if torch.isfinite(head.weight).all()
    }
    if not works:
        raise UserError("no learning rate of the sweep works on these features; are they finite?")
    best = max(works, key=lambda rate: works[rate])  # of equals the lowest
    (head,) = _fit(train, labelled, rates=(best,), batch_size=batch_size, **settings)
    return Swept(head, best, held_out)


def _fit(
    data: CachedFeatures,
    rows: np.ndarray,
    *,
    rates: tuple[float, ...],
    num_classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str,
) -> list[Head]:
    """SGD with momentum and a cosine to zero, from zero weights, of one head for each rate."""
    mean, scale = _standardise(data.features, rows, device=device)
    width, shape = data.features.shape[1], (len(rates), num_classes)
    batch_size = min(batch_size, len(rows))
    weight = torch.zeros(math.prod(shape), width, device=device)
    bias = torch.zeros(shape, device=device)
    weight_step, bias_step = torch.zeros_like(weight), torch.zeros_like(bias)
    rate = torch.tensor(rates, device=device)[:, None]
    steps, step = epochs * -(-len(rows) // batch_size), 0
    for epoch in range(epochs):
        for x, target in _batches(data, rows, batch_size, seed=(seed, epoch), device=device):
            x = (x - mean).mul_(scale)
            logits = (x @ weight.T).view(len(x), *shape).add_(bias)
            error = torch.softmax(logits, dim=2)
            error.scatter_add_(
                2, target[:, None, None].expand(-1, len(rates), 1), _minus_one(error)
            )
            error /= len(x)
            weight_step.mul_(_MOMENTUM).addmm_(error.view(len(x), -1).T, x)
            bias_step.mul_(_MOMENTUM).add_(error.sum(0))
            now = rate * (0.5 * (1 + math.cos(math.pi * step / steps)))
            bias.sub_(now * bias_step)
            weight.view(*shape, width).sub_(now[..., None] * weight_step.view(*shape, width))
            step += 1
    weight = weight.view(*shape, width) * scale
    bias -= weight @ mean
    return [Head(*pair) for pair in zip(weight.unbind(), bias.unbind(), strict=True)]


def _minus_one(error: torch.Tensor) -> torch.Tensor:
    return error.new_full((1, 1, 1), -1.0).expand(error.shape[0], error.shape[1], 1)


def count_right(
    heads: list[Head], data: CachedFeatures, rows: np.ndarray, *, device: str
) -> list[int]:
    """Rows whose class each head finds."""
    weight = torch.stack([head.weight for head in heads])
    bias = torch.stack([head.bias for head in heads])
    right = torch.zeros(len(heads), dtype=torch.int64, device=device)
    for x, target in _chunks(data, rows, device=device):
        logits = torch.einsum("bd,hcd->bhc", x, weight) + bias
        right += (logits.argmax(dim=2) == target[:, None]).sum(0)
    return right.tolist()


def find_accuracy(head: Head, data: CachedFeatures, *, device: str) -> tuple[float, float]:
    """Top-1 and top-5 accuracy, percent."""
    right = torch.zeros(2, dtype=torch.int64, device=device)
    for x, target in _chunks(data, np.arange(len(data.labels)), device=device):
        logits = x @ head.weight.T + head.bias
        hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == target[:, None]
        right += torch.stack([hits[:, 0].sum(), hits.sum()])
    first, among = (100 * right.double() / len(data.labels)).tolist()
    return first, among


def _standardise(
    features: np.ndarray, rows: np.ndarray, *, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(d,) mean, and (d,) what to multiply by: 1 / (σ √d); a feature that never changes is 0."""
    total = torch.zeros(2, features.shape[1], dtype=torch.float64, device=device)
    for x in (_fetch(features, part, device) for part in _split(rows, _CHUNK)):
        x = x.double()
        total += torch.stack([x.sum(0), (x * x).sum(0)])
    mean, square = (total / len(rows)).unbind()
    std = (square - mean * mean).clamp_min(0).sqrt()
    scale = torch.where(std > _LEAST_STD, 1 / (std * features.shape[1] ** 0.5), 0)
    return mean.float(), scale.float()


def _batches(
    data: CachedFeatures, rows: np.ndarray, batch_size: int, *, seed: tuple[int, int], device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """All rows in a random order, those of a batch in the order in which they lie."""
    order = np.random.default_rng(seed).permutation(rows)
    for part in _split(order, batch_size):
        yield from _chunks(data, np.sort(part), device=device, size=batch_size)


def _chunks(
    data: CachedFeatures, rows: np.ndarray, *, device: str, size: int = _CHUNK
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for part in _split(rows, size):
        target = torch.from_numpy(data.labels[part]).to(device)
        yield _fetch(data.features, part, device), target


def _split(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _fetch(features: np.ndarray, rows: np.ndarray, device: str) -> torch.Tensor:
    """(len(rows), d) float32 on the device; half as many bytes are read and copied."""
    return torch.from_numpy(features[rows]).to(device).float()
