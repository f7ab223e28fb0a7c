"""Accuracy of a classifier over an evaluation loader, against a plain count."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from swiftsiam.pipeline.contract import BadSample, Batch
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.evaluation.accuracy import measure_accuracy
from swiftsiam.train.evaluation.probe import Probe
from torch import nn

pytestmark = pytest.mark.usefixtures("single_thread")

CLASSES = 7
TO_CLASS = torch.tensor([6, 2, 4])  # of the loader's three


class StubLoader:
    """Batches of one feature map each; -1 leaves an empty row."""

    def __init__(self, *indices: list[int]) -> None:
        self.bad_samples = {7: BadSample(7, "file 7", "cut off")}
        generator = torch.Generator().manual_seed(1)
        self.batches = []
        for rows in indices:
            index = torch.tensor(rows)
            view = torch.randn(len(rows), 3, 4, 4, generator=generator)
            self.batches.append(Batch((view,), torch.where(index < 0, -1, index % 3), index))

    def __iter__(self) -> Any:
        return iter(self.batches)


@pytest.fixture
def probe() -> Probe:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48))
    probe = Probe(backbone, num_features=48, num_classes=CLASSES)
    nn.init.normal_(probe.head.weight)
    return probe


def measure(probe: Probe, loader: StubLoader) -> Any:
    autocast = torch.autocast("cpu", enabled=False)
    return measure_accuracy(probe, loader, TO_CLASS, autocast=autocast)  # pyright: ignore


def test_every_picture_counts_once_and_padding_never(probe: Probe) -> None:
    loader = StubLoader([0, 1, 2, 3, 4, 5], [8, -1, 9, 10, -1, 11], [-1, -1])
    right = among = count = 0
    for batch in loader.batches:
        logits = probe.head(probe.backbone.eval()(batch.views[0]))
        for row, label, index in zip(logits, batch.label, batch.index, strict=True):
            if index >= 0:
                order = row.argsort(descending=True).tolist()
                place = order.index(TO_CLASS[label])
                right, among, count = right + (place == 0), among + (place < 5), count + 1
    found = measure(probe, loader)
    assert found.pictures == count == 10
    assert found.top1 == pytest.approx(100 * right / count)
    assert found.top5 == pytest.approx(100 * among / count)
    assert 0 < found.top1 < found.top5 < 100
    assert probe.training


def test_a_picture_without_a_label_is_not_asked(probe: Probe) -> None:
    loader = StubLoader([0, 1, 2, 3, 4, 5])
    whole = measure(probe, loader)
    (batch,) = loader.batches
    loader.batches = [replace(batch, label=torch.where(batch.index == 4, -1, batch.label))]
    found = measure(probe, loader)
    assert (whole.pictures, found.pictures) == (6, 5)
    loader.batches = [replace(batch, label=torch.full((6,), -1))]
    with pytest.raises(UserError, match="no picture of VAL has a label"):
        measure(probe, loader)


def test_none_that_can_be_read_is_told(probe: Probe) -> None:
    with pytest.raises(UserError, match="file 7: cut off; no picture of VAL has a label"):
        measure(probe, StubLoader([-1, -1]))
