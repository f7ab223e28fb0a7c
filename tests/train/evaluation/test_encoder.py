"""Features of what an evaluation loader yields, against a plain implementation."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from swiftsiam.model.backbones import build_backbone
from swiftsiam.pipeline.contract import BadSample, Batch
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.evaluation.encoder import extract_features

pytestmark = pytest.mark.usefixtures("single_thread")

INDICES = ([0, 1, 2, 3], [4, -1, 6, -1], [-1, -1, -1, -1], [9, 10, -1])


class StubLoader:
    """Batches with these indices; -1 leaves an empty row."""

    def __init__(self, *indices: list[int]) -> None:
        self.bad_samples = {7: BadSample(7, "file 7", "cut off")}
        self._indices = indices
        self.max_rows = sum(map(len, indices)) + 3  # the last batch may be smaller

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(0)
        for indices in self._indices:
            assert not torch.is_inference_mode_enabled()
            index = torch.tensor(indices)
            view = torch.randn(len(indices), 3, 16, 16, generator=generator)
            view[index < 0] = 0
            view = view.contiguous(memory_format=torch.channels_last)
            yield Batch((view,), torch.where(index < 0, -1, index * 3 % 5), index)


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    network, _ = build_backbone("cifar_resnet18_w16")
    return network.to(memory_format=torch.channels_last)  # pyright: ignore


def build_autocast(*, enabled: bool) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)


@pytest.mark.parametrize("enabled", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("indices", [INDICES, INDICES[:1]], ids=["padded", "whole"])
def test_features_are_those_of_each_sample(
    network: torch.nn.Module, indices: tuple[list[int], ...], *, enabled: bool
) -> None:
    loader, autocast = StubLoader(*indices), build_autocast(enabled=enabled)
    found = extract_features(network, loader, autocast=autocast)  # pyright: ignore
    assert network.training
    network.eval()
    expected = []
    for batch in loader:
        with torch.inference_mode(), autocast:
            features = network(batch.views[0])
        expected.append(F.normalize(features[batch.mask].float(), dim=1))
    assert torch.equal(found.features, torch.cat(expected))
    kept = [index for batch in indices for index in batch if index >= 0]
    assert found.indices.tolist() == kept
    assert found.labels.tolist() == [index * 3 % 5 for index in kept]
    assert found.features.dtype == torch.float32


def test_nothing_but_bad_samples_is_refused(network: torch.nn.Module) -> None:
    loader = StubLoader([-1, -1], [-1])
    with pytest.raises(UserError, match="file 7: cut off; nor can any other of the 1"):
        extract_features(network, loader, autocast=build_autocast(enabled=False))  # pyright: ignore


CHILD = """
import resource, torch
from swiftsiam.pipeline.contract import Batch
from swiftsiam.train.evaluation.encoder import extract_features

class Noise:
    bad_samples = {}
    max_rows = 40_000

    def __iter__(self):
        for first in range(0, self.max_rows, 500):
            view, index = torch.randn(500, 3, 16, 16), torch.arange(first, first + 500)
            yield Batch((view,), index % 10, index)

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.set_num_threads(1)
network = torch.nn.Flatten()
few = Noise()
few.max_rows = 1000
autocast = torch.autocast("cpu", enabled=False)
extract_features(network, few, autocast=autocast)
before = peak()
extract_features(network, Noise(), autocast=autocast)
print(peak() - before)
"""


@pytest.mark.slow
def test_features_lie_in_memory_once() -> None:
    """In a process of its own, since a peak is of all that was before."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, timeout=500, check=True
    )
    whole = 4 * 40_000 * 768
    assert int(done.stdout) < 1.4 * whole
