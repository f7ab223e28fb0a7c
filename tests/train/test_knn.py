"""kNN against a brute-force vote, one query at a time."""

import math

import pytest
import torch
import torch.nn.functional as F
from swiftsiam.train import knn
from swiftsiam.train.knn import Features, accuracy, predict


def make(count: int, seed: int, *, dims: int = 16, classes: int = 5) -> Features:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    centres = torch.randn(classes, dims, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + 1.5 * torch.randn(count, dims, generator=generator)
    return Features(F.normalize(features, dim=1), labels, torch.arange(count))


def brute_force(query: torch.Tensor, bank: Features, k: int, temperature: float) -> int:
    similarity = [
        (float(query @ row), int(label)) for row, label in zip(bank[0], bank[1], strict=True)
    ]
    votes: dict[int, float] = {}
    for value, label in sorted(similarity, reverse=True)[:k]:
        votes[label] = votes.get(label, 0.0) + math.exp(value / temperature)
    return max(votes, key=lambda label: votes[label])


@pytest.mark.parametrize("k", [1, 7, 200, 10_000])
def test_agrees_with_brute_force(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = make(300, 0), make(60, 1)
    monkeypatch.setattr(knn, "_SIMILARITIES", 300 * 7)  # several chunks
    predicted = predict(queries.features, bank.features, bank.labels, k=k, temperature=0.1)
    expected = [brute_force(query, bank, k, 0.1) for query in queries.features]
    assert predicted.tolist() == expected


def test_accuracy_is_in_percent() -> None:
    bank = make(200, 0)
    assert accuracy(bank, bank, k=1, temperature=0.1) == 100.0
    wrong = bank._replace(labels=(bank.labels + 1) % 5)
    assert accuracy(wrong, bank, k=1, temperature=0.1) == 0.0


def test_near_neighbours_weigh_more() -> None:
    bank = F.normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]]), dim=1)
    query = torch.tensor([[1.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    assert predict(query, bank, labels, k=3, temperature=0.1).item() == 0
    assert predict(query, bank, labels, k=3, temperature=10.0).item() == 1
