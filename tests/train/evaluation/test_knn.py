"""kNN against a brute-force vote, one query at a time."""

import contextlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.train.evaluation import knn
from swiftsiam.train.evaluation.encoder import Features
from swiftsiam.train.evaluation.knn import count_right, predict
from swiftsiam.train.evaluation.labelled import find_shared


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


def test_right_answers_are_counted() -> None:
    bank = make(200, 0)
    assert count_right(bank, bank, k=1, temperature=0.1) == len(bank.labels)
    wrong = bank._replace(labels=(bank.labels + 1) % 5)
    assert count_right(wrong, bank, k=1, temperature=0.1) == 0


def test_a_query_never_votes_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """On noise, what is left is chance; every other picture votes as ever."""
    bank = make(300, 0)
    noise = bank._replace(
        labels=torch.randint(5, (300,), generator=torch.Generator().manual_seed(3))
    )
    assert count_right(noise, noise, k=1, temperature=0.1) == len(noise.labels)
    monkeypatch.setattr(knn, "_SIMILARITIES", 300 * 7)
    itself = np.arange(300)[::-1, None].repeat(2, axis=1)
    predicted = predict(
        noise.features, noise.features, noise.labels, k=3, temperature=0.1, excluded=itself
    )
    for row in range(300):
        others = torch.arange(300) != row
        without = Features(noise.features[others], noise.labels[others], noise.indices[others])
        assert predicted[row] == brute_force(noise.features[row], without, 3, 0.1)
    assert count_right(noise, noise, k=1, temperature=0.1, excluded=itself) < 0.4 * len(
        noise.labels
    )


def test_each_query_loses_its_own_pairs_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several for one query, in any order, and chunks with none."""
    bank, queries = make(40, 0), make(30, 1)
    monkeypatch.setattr(knn, "_SIMILARITIES", 40 * 4)
    nearest = (queries.features @ bank.features.T).argsort(dim=1, descending=True)
    lost = {17: nearest[17, :3].tolist(), 2: [], 4: nearest[4, :1].tolist(), 3: [0]}
    pairs = np.array([(row, other) for row, others in lost.items() for other in others])
    before = pairs.copy()
    predicted = predict(
        queries.features, bank.features, bank.labels, k=1, temperature=0.1, excluded=pairs
    )
    assert (pairs == before).all()
    for row in range(30):
        left = [other for other in nearest[row].tolist() if other not in lost.get(row, ())]
        assert predicted[row] == bank.labels[left[0]]


def test_more_classes_than_labels_change_nothing() -> None:
    bank, queries = make(300, 0), make(60, 1)
    columns = (queries.features, bank.features, bank.labels)
    wanted = predict(*columns, k=7, temperature=0.1)
    assert torch.equal(predict(*columns, k=7, temperature=0.1, num_classes=1000), wanted)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("fails", [False, True])
def test_similarities_are_true_float32(
    precision: str, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """Whatever training is set to, which is as before behind it, also behind an error."""
    inside = []

    class Watched(torch.Tensor):
        def __matmul__(self, other: torch.Tensor) -> torch.Tensor:
            inside.append(torch.get_float32_matmul_precision())
            if fails:
                raise MemoryError
            return super().__matmul__(other)

    bank, queries = make(300, 0), make(60, 1)
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(knn, "_SIMILARITIES", 300 * 20)
    try:
        torch.set_float32_matmul_precision(precision)
        with contextlib.suppress(MemoryError):
            asked = queries.features.as_subclass(Watched)
            predict(asked, bank.features, bank.labels, k=7, temperature=0.1)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert inside == ["highest"] * (1 if fails else 3)


def test_a_bank_of_nothing_but_the_query_is_refused() -> None:
    one = make(1, 0)
    with pytest.raises(UserError, match="no picture but the query"):
        count_right(one, one, k=1, temperature=0.1, excluded=np.array([[0, 0]]))


@pytest.mark.parametrize("temperature", [0.001, 1000.0])
def test_any_temperature_gives_a_number(temperature: float) -> None:
    bank, queries = make(300, 0), make(60, 1)
    predicted = predict(queries.features, bank.features, bank.labels, k=20, temperature=temperature)
    nearest = [bank.labels[(query @ bank.features.T).argmax()] for query in queries.features]
    if temperature < 1:
        assert predicted.tolist() == [int(label) for label in nearest]
    assert len(predicted.unique()) > 1


def test_one_picture_by_two_names_is_found(tmp_path: Path) -> None:
    """Links of both kinds, across folders; a copy is another picture."""
    for name in ("bank/a/1.jpg", "bank/a/2.jpg", "bank/b/3.jpg", "asked/a/4.jpg", "asked/b/5.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "asked/a/hard.jpg").hardlink_to(tmp_path / "bank/a/1.jpg")
    (tmp_path / "asked/a/soft.jpg").symlink_to(tmp_path / "bank/b/3.jpg")
    (tmp_path / "bank/b/again.jpg").symlink_to("3.jpg")
    bank, asked = open_source(tmp_path / "bank"), open_source(tmp_path / "asked")
    keys = {bank.key(index): index for index in range(len(bank))}
    shared = find_shared(bank, np.arange(len(bank)), asked, np.arange(len(asked)))
    found = {
        asked.key(index): sorted(bank.key(each) for each in same) for index, same in shared.items()
    }
    assert found == {"a/hard.jpg": ["a/1.jpg"], "a/soft.jpg": ["b/3.jpg", "b/again.jpg"]}
    voting = np.array([keys["b/3.jpg"]])
    assert list(find_shared(bank, voting, asked, np.arange(len(asked))).values()) == [
        [keys["b/3.jpg"]]
    ]


def test_near_neighbours_weigh_more() -> None:
    bank = F.normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]]), dim=1)
    query = torch.tensor([[1.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    assert predict(query, bank, labels, k=3, temperature=0.1).item() == 0
    assert predict(query, bank, labels, k=3, temperature=10.0).item() == 1


def test_equal_pictures_vote_each_and_equal_votes_go_to_the_first_class() -> None:
    bank = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    query = torch.tensor([[1.0, 0.0]])
    for labels, wanted in (([2, 1, 1, 0], 1), ([2, 1, 2, 0], 2), ([0, 2, 2, 1], 2)):
        assert predict(query, bank, torch.tensor(labels), k=3, temperature=0.1).item() == wanted
    labels = torch.tensor([2, 1, 0, 1])
    assert predict(query, bank, labels, k=3, temperature=0.1).item() == 0


CHILD = """
import resource, torch
from swiftsiam.train.evaluation.knn import predict

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.set_num_threads(1)
bank, queries = torch.randn(20_000, 32), torch.randn(16_000, 32)
labels = torch.arange(20_000) % 10
predict(queries[:8], bank[:500], labels, k=20, temperature=0.1)  # libraries start
before = peak()
predict(queries, bank, labels, k=20, temperature=0.1)
print(peak() - before)
"""


@pytest.mark.slow
def test_memory_is_that_of_a_chunk_and_not_of_all_similarities() -> None:
    """In a process of its own, since a peak is of all that was before."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, timeout=500, check=True
    )
    chunk, whole = 4 * knn._SIMILARITIES, 4 * 20_000 * 16_000
    assert 3 * chunk < whole
    assert int(done.stdout) < 2 * chunk
