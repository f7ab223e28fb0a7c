"""The way to the device: crops come out as the engine's own views would, and in the right order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.sampler import PARAMS
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    GaussianBlur,
    Normalize,
    RandomResizedCrop,
    build_train_specs,
    group_views,
)
from swiftsiam.pipeline.contract import Batch, EngineOptions, Result
from swiftsiam.pipeline.delivery import Delivered, Delivery, HostLane
from swiftsiam.pipeline.loader import Loader

MakeLoader = Callable[..., Loader]
STD = torch.tensor(Normalize().std).view(3, 1, 1)


def errors_of(made: list[Batch], expected: list[Batch]) -> torch.Tensor:
    """(views, pictures): mean difference before normalisation, of 255."""
    rows = []
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(ours.label, theirs.label)
        for view, other in zip(ours.views, theirs.views, strict=True):
            assert view.shape == other.shape
            assert view.dtype == other.dtype
            assert view.is_contiguous(memory_format=torch.channels_last)
            rows.append((255 * STD * (view - other).double()).abs().mean((1, 2, 3)))
    return torch.cat(rows)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_of_crops_are_the_engines_views(
    make_loader: MakeLoader, num_workers: int, dtype: torch.dtype
) -> None:
    settings = {"num_workers": num_workers, "dtype": dtype, "seed": 3}
    expected = list(make_loader(**settings))
    made = list(make_loader(**settings, delivers="crops"))
    assert len(made) == 5
    errors = errors_of(made, expected)
    limit = 0.5 if dtype == torch.float32 else 0.8  # bfloat16 itself is 0.3 of 255
    assert errors.mean() < limit
    assert errors.max() < 2 * limit
    assert errors.min() > 0  # or these are no crops


def test_crops_may_become_views_of_16_bits(make_loader: MakeLoader) -> None:
    """For training in fp16, whose views the CPU kernel does not make."""
    (half, *_), (exact, *_) = (
        list(make_loader(dtype=dtype, delivers="crops")) for dtype in (torch.float16, torch.float32)
    )
    for view, other in zip(half.views, exact.views, strict=True):
        assert torch.equal(view, other.half())


@pytest.mark.slow
def test_views_of_two_sizes(make_loader: MakeLoader) -> None:
    """As multi-crop has them: a block of memory for each size, the order of the views kept."""
    large, small = (build_train_specs(AugmentConfig(size=size))[0] for size in (24, 16))
    specs = (large, small, large, small, small)
    assert group_views(specs) == ((0, 2), (1, 3, 4))
    expected = list(make_loader(specs=specs))
    made = list(make_loader(specs=specs, delivers="crops"))
    assert [view.shape[-1] for view in made[0].views] == [24, 16, 24, 16, 16]
    assert errors_of(made, expected).max() < 1


def test_views_are_grouped_by_what_the_kernel_looks_at() -> None:
    def spec(size: int, *ops: object, mean: float = 0.5) -> AugmentSpec:
        normalize = Normalize(mean=(mean, 0.5, 0.5))
        return AugmentSpec(ops=(RandomResizedCrop(size=size), *ops, normalize))

    blurred, more = GaussianBlur(prob=0.1), GaussianBlur(sigma=(0.1, 3.0))
    specs = (
        spec(8), spec(8, blurred), spec(8, GaussianBlur(prob=0.9)), spec(8, more), spec(9),
        spec(8, mean=0.4), spec(8),
    )  # fmt: skip
    assert group_views(specs) == ((0, 6), (1, 2), (3,), (4,), (5,))


class WrittenLane:
    """Does nothing but write down what it was asked for."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        self.log: list[Any] = []
        self.is_open = False

    @contextmanager
    def working(self) -> Iterator[None]:
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False

    def adopt(self, blocks: Sequence[torch.Tensor], ready: Any) -> None:
        assert self.is_open
        self.log.append(("adopt", ready))

    def mark(self) -> Any:
        assert self.is_open
        self.log.append("mark")
        return f"mark {self.log.count('mark')}"

    def keep_in_reach(self) -> None:
        assert not self.is_open
        self.log.append("keep in reach")

    def take_wait_s(self) -> float | None:
        return None

    def hand_over(self, tensors: Sequence[torch.Tensor], ready: Any) -> None:
        assert not self.is_open
        self.log.append(("hand over", len(tensors), ready))


@pytest.fixture
def options(make_options: Callable[..., EngineOptions]) -> EngineOptions:
    return make_options(batch_size=2, delivers="crops")


def some_results(count: int, log: list[Any]) -> Iterator[Result]:
    for number in range(count):
        log.append(f"make {number}")
        crops = torch.full((4, 16, 16, 3), number, dtype=torch.uint8)
        yield Result((crops,), np.array([number, 0]), [], np.zeros((2, 2), PARAMS), ready=number)


def deliver(options: EngineOptions, lane: Any, results: Iterator[Result]) -> Iterator[Delivered]:
    labels = torch.arange(len(options.source) + 1)
    return Delivery(options, labels=labels, lane=lane).deliver(results)


def test_a_batch_is_made_ahead_and_handed_over_in_order(options: EngineOptions) -> None:
    lane = WrittenLane(ahead=1)
    numbers = []
    for delivered in deliver(options, lane, some_results(3, lane.log)):
        lane.log.append("step")
        numbers.append(int(delivered.index[0]))
        assert delivered.batch.label.tolist() == [numbers[-1], 0]
        assert torch.equal(delivered.batch.views[0], delivered.batch.views[1])
    assert numbers == [0, 1, 2]
    made = [[f"make {number}", ("adopt", number), "mark"] for number in range(3)]
    given = [
        [("hand over", 4, f"mark {1 + number}"), "step", "keep in reach"] for number in range(3)
    ]
    assert lane.log == [*made[0], *made[1], *given[0], *made[2], *given[1], *given[2]]


def test_without_a_gpu_nothing_is_made_ahead(options: EngineOptions) -> None:
    log: list[Any] = []
    results = (result for result in some_results(3, log))
    delivered = deliver(options, WrittenLane(ahead=HostLane.ahead), results)
    next(delivered)
    assert log == ["make 0"]


def test_an_error_comes_behind_the_batches_made_before(options: EngineOptions) -> None:
    def failing() -> Iterator[Result]:
        yield from some_results(2, [])
        raise OSError("the disk is gone")

    delivered = deliver(options, WrittenLane(ahead=1), failing())
    assert [int(next(delivered).index[0]) for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(delivered)


def test_an_interrupt_does_not_wait(options: EngineOptions) -> None:
    def interrupted() -> Iterator[Result]:
        yield from some_results(1, [])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(deliver(options, WrittenLane(ahead=1), interrupted()))


def test_a_batch_taken_is_let_go_of(options: EngineOptions) -> None:
    """Or each step would hold the memory of one batch more."""
    import weakref

    delivered = deliver(options, WrittenLane(ahead=0), some_results(2, []))
    first = weakref.ref(next(delivered).batch)
    assert first() is None
    next(delivered)
