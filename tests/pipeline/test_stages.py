"""Counted time: it is that of the stage in which it passed, and counting changes no view."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numba import njit
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source
from swiftsiam.pipeline.stages import (
    COPY,
    CROP,
    DECODE,
    NO_TICKS,
    READ,
    REST,
    STAGES,
    StageClock,
    Stages,
    lap,
)

MakeLoader = Callable[..., Loader]
SLOW_S = 0.02


class SlowSource:
    """A source whose disk takes its time; in all else the one that it is given."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_source"], name)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> bytes:
        time.sleep(SLOW_S)
        return self._source.read(index)


@njit
def lap_compiled(ticks: np.ndarray, stage: int) -> None:
    lap(ticks, stage)


@pytest.mark.parametrize("is_compiled", [False, True], ids=["python", "compiled"])
def test_time_is_that_of_the_stage_named_at_its_end(is_compiled: bool) -> None:
    lap_compiled(NO_TICKS, REST)  # compiled now
    stages = Stages(num_workers=1)
    clock = StageClock(stages)
    ticks = stages.claim()

    def count(stage: int) -> None:
        lap_compiled(ticks, stage) if is_compiled else clock.lap(stage)

    begun = time.monotonic()
    count(REST)
    for stage, seconds in ((READ, 0.05), (CROP, 0.0), (REST, 0.05), (DECODE, 0.1)):
        time.sleep(seconds)
        count(stage)
    told, elapsed_s = stages.seconds(), time.monotonic() - begun
    assert list(told) == list(STAGES)
    assert told["read"] >= 0.05
    assert told["decode"] >= 0.1
    assert told["colour"] == told["copy"] == 0
    assert sum(told.values()) <= elapsed_s - 0.05  # what passed in REST is in none of them


def test_no_two_threads_and_no_two_processes_have_one_row() -> None:
    stages = Stages(num_workers=2)
    rows = [stages.claim() for _ in range(5)]
    for worker in range(2):
        stages.enter_worker(worker)
        rows += [stages.claim() for _ in range(5)]
    addresses = {row.ctypes.data for row in rows}
    assert len(addresses) == 15
    assert min(np.diff(sorted(addresses))) >= 64  # nor a line of the cache


def test_threads_that_share_a_clock_have_each_its_row() -> None:
    stages = Stages(num_workers=2)
    clock, all_in = StageClock(stages), threading.Barrier(3)

    def work() -> None:
        clock.lap(REST)
        all_in.wait()
        time.sleep(0.05)
        clock.lap(COPY)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stages.seconds()["copy"] >= 0.15


def test_where_nobody_asks_nothing_is_claimed() -> None:
    StageClock(None).lap(READ)
    assert NO_TICKS.size == 0


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_counting_changes_no_view(make_loader: MakeLoader, num_workers: int) -> None:
    stages = Stages(num_workers=num_workers)
    with make_loader(num_workers=num_workers) as plain:
        expected = list(plain)
    with make_loader(num_workers=num_workers, stages=stages) as counting:
        got = list(counting)
    for one, two in zip(expected, got, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))
    told = stages.seconds()
    assert min(told["read"], told["crop"], told["colour"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_slow_disk_is_counted_as_reading(
    make_loader: MakeLoader, source: Source, num_workers: int
) -> None:
    stages = Stages(num_workers=num_workers)
    with make_loader(source=SlowSource(source), num_workers=num_workers, stages=stages) as loader:
        count = sum(len(batch.index) for batch in loader)
    assert stages.seconds()["read"] >= count * SLOW_S


@pytest.mark.engine("ffcv", formats=("beton",))
def test_a_mapped_file_is_read_before_it_is_decoded(betons) -> None:
    """With all the same views; and raw pictures are decoded by nobody."""
    from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
    from swiftsiam.pipeline.building import build_loader
    from swiftsiam.pipeline.sources import open_source

    for name, is_decoded in (("jpg", True), ("raw", False)):
        stages = Stages(num_workers=1)
        with build_loader(
            source=open_source(betons[name]),
            specs=build_train_specs(AugmentConfig(size=16)),
            global_batch_size=4,
            train=True,
            engine="ffcv",
            num_workers=1,
            stages=stages,
        ) as loader:
            list(loader)
        told = stages.seconds()
        assert told["read"] > 0
        assert (told["decode"] > 0) == is_decoded
