"""The pace of training, by a clock of the test's own."""

import contextlib
from collections.abc import Iterator

import pytest
from swiftsiam.train import stopwatch
from swiftsiam.train.stopwatch import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def batches(clock: Clock, waits: tuple[float, ...]) -> Iterator[int]:
    for number, wait in enumerate(waits):
        clock.now += wait
        yield number


def test_pace_and_share_of_waiting(clock: Clock) -> None:
    watch = Stopwatch(batch_size=10)
    entered = 0

    @contextlib.contextmanager
    def within() -> Iterator[None]:
        nonlocal entered
        entered += 1
        yield

    for _ in watch.waiting_for(batches(clock, (1, 0, 2)), within=within):
        clock.now += 3  # the step
    assert entered == 4  # the wait for the end counts as well
    pace = watch.take_pace()
    assert pace.images_per_s == pytest.approx(3 * 10 / 12)
    assert pace.data_wait_percent == pytest.approx(100 * 3 / 12)


def test_pauses_do_not_count_and_each_pace_begins_anew(clock: Clock) -> None:
    watch = Stopwatch(batch_size=4)
    for _ in watch.waiting_for(batches(clock, (1,)), within=contextlib.nullcontext):
        clock.now += 1
    with watch.paused():
        clock.now += 1000  # an evaluation
    assert watch.take_pace() == (2.0, 50.0)
    clock.now += 2
    assert watch.take_pace() == (0.0, 0.0)


def test_on_a_gpu_its_own_wait_counts(clock: Clock) -> None:
    """The host runs ahead of the device, and waits while that is busy."""
    waits = iter((0.5, 0.0, 100.0))
    watch = Stopwatch(batch_size=10, take_wait_s=lambda: next(waits))
    for expected in (5.0, 0.0, 100.0):
        for _ in watch.waiting_for(batches(clock, (9,)), within=contextlib.nullcontext):
            clock.now += 1
        assert watch.take_pace() == (1.0, expected)
