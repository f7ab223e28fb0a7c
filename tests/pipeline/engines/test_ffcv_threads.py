"""The threads of the ffcv engine: they end, and what happens in them is told."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import EngineOptions, Request, Result
from swiftsiam.pipeline.sources import Source, open_source

pytestmark = pytest.mark.engine("ffcv", formats=("beton",))

SPECS = build_train_specs(AugmentConfig(size=24))
Stream = Callable[..., list[Result]]


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "swiftsiam-ffcv" in thread.name]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_an_exception_in_a_thread_reaches_the_caller(
    listed: Callable[..., Source], stream: Stream, num_workers: int
) -> None:
    error = ZeroDivisionError("a bug in a source")
    with pytest.raises(ZeroDivisionError, match="a bug in a source"):
        stream(listed(error, error), [0, 1], [1, 0], num_workers=num_workers)


def test_an_exception_of_the_requests_reaches_the_caller(betons: dict[str, Path]) -> None:
    from swiftsiam.pipeline.engines.ffcv import engine as ffcv_engine

    def requests() -> Iterator[Request]:
        yield Request(0, np.array([1, 2]))
        raise ZeroDivisionError("a bug in the order")

    options = EngineOptions(
        source=open_source(betons["raw"]),
        specs=SPECS,
        seed=0,
        batch_size=2,
        dtype=torch.float32,
        device=torch.device("cpu"),
        num_workers=2,
        max_bad_samples=None,
    )
    engine = ffcv_engine.build(options)
    with pytest.raises(ZeroDivisionError, match="a bug in the order"):
        list(engine.stream(requests()))
    engine.close()


def test_no_thread_outlives_its_loader(betons: dict[str, Path]) -> None:
    loader = build_loader(
        source=open_source(betons["raw"]),
        specs=SPECS,
        global_batch_size=4,
        train=True,
        engine="ffcv",
        num_workers=3,
    )
    for _ in loader:
        threads = our_threads()
        assert len(threads) == 3
        break
    # A thread that nobody has told to stop would be waited for until the test's end.
    for thread in threads:
        thread.join()
    batches = iter(loader)
    next(batches)
    threads = our_threads()
    assert len(threads) == 3
    del batches, loader  # never closed
    for thread in threads:
        thread.join()


def test_memory_comes_back_only_when_nobody_sees_it() -> None:
    from swiftsiam.pipeline.engines.memory import BatchMemory

    memory = BatchMemory(num_kept=1, is_pinned=False)
    first = memory.empty(2, 8, torch.bfloat16)
    address, alias = first.data_ptr(), first[1]
    del first
    other = memory.empty(2, 8, torch.bfloat16)
    assert other.data_ptr() != address
    del alias
    assert memory.empty(2, 8, torch.bfloat16).data_ptr() == address
    memory.close()


def test_threads_of_torch_and_numba_stay_as_they_were(
    betons: dict[str, Path], stream: Stream
) -> None:
    import numba

    before = torch.get_num_threads(), numba.get_num_threads()
    stream(open_source(betons["raw"]), [0], num_workers=1)
    assert (torch.get_num_threads(), numba.get_num_threads()) == before
