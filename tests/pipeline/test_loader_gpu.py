"""The loader on a real GPU: pinned, without waits, and right however busy the device is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, Normalize, build_train_specs
from swiftsiam.pipeline.contract import Batch, Request
from swiftsiam.pipeline.engines import build
from swiftsiam.pipeline.loader import Loader

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

MakeLoader = Callable[..., Loader]
SPECS = build_train_specs(AugmentConfig(size=64))
STD = torch.tensor(Normalize().std).view(3, 1, 1)

settings = pytest.mark.parametrize("delivers", ["views", "crops"])


def assert_close(made: list[Batch], expected: list[Batch], limit: float) -> None:
    assert len(made) == len(expected)
    for ours, theirs in zip(made, expected, strict=True):
        assert ours.index.is_cuda
        assert torch.equal(ours.index.cpu(), theirs.index)
        assert torch.equal(ours.label.cpu(), theirs.label)
        for view, other in zip(ours.views, theirs.views, strict=True):
            assert view.is_cuda
            assert view.is_contiguous(memory_format=torch.channels_last)
            errors = (255 * STD * (view.cpu() - other).double()).abs().mean((1, 2, 3))
            assert errors.max() <= limit


@settings
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_cpus(make_loader: MakeLoader, delivers: str, num_workers: int) -> None:
    expected = list(make_loader(specs=SPECS))
    made = list(make_loader(specs=SPECS, device="cuda", delivers=delivers, num_workers=num_workers))
    assert_close(made, expected, 1.0 if delivers == "crops" else 1e-4)


@settings
def test_batches_stay_right_while_the_device_is_busy(
    make_loader: MakeLoader, delivers: str
) -> None:
    """All are kept, and behind each the trainer's stream has long work to do: memory that came
    back too early would be written to.
    """
    expected = list(make_loader(specs=SPECS))
    matrix = torch.randn(4096, 4096, device="cuda")
    made, sums = [], []
    for batch in make_loader(specs=SPECS, device="cuda", delivers=delivers, num_workers=2):
        for _ in range(20):
            matrix = (matrix @ matrix).clamp(-1, 1)
        sums.append(sum(view.double().sum() for view in batch.views))
        made.append(batch)
    assert_close(made, expected, 1.0 if delivers == "crops" else 1e-4)
    for batch, total in zip(made, sums, strict=True):
        again = sum(view.double().sum() for view in batch.views)
        torch.testing.assert_close(total, again, rtol=1e-12, atol=1e-6)


@settings
@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_an_engine_delivers_is_pinned(
    make_loader: MakeLoader, engine: str, delivers: str, num_workers: int
) -> None:
    """Or each copy would go through pageable memory, with the host waiting, without a word."""
    options = make_loader(
        specs=SPECS, device="cuda", delivers=delivers, num_workers=num_workers
    ).options
    made = build(engine, options)
    result = next(made.stream(iter([Request(0, np.arange(4))])))
    made.close()
    assert all(block.is_cuda or block.is_pinned() for block in result.pixels)


@settings
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
def test_the_trainer_does_not_wait(make_loader: MakeLoader, delivers: str) -> None:
    batches = iter(make_loader(specs=SPECS, device="cuda", delivers=delivers, num_workers=2))
    next(batches)  # compiled and loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            batch.views[0].sum()
    finally:
        torch.cuda.set_sync_debug_mode("default")
