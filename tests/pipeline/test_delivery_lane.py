"""The lane beside the trainer's stream, on a driver that only writes down what it is asked for."""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from swiftsiam.pipeline.delivery import CudaLane

CUDA = torch.device("cuda", 1)


class Driver:
    """Streams and events by name; an event is reached at the time that is set for it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.reached: dict[str, float] = {}
        self.num_events = 0
        self.alive: weakref.WeakSet[Event] = weakref.WeakSet()
        self.current = Stream(self, "trainer")

    def new_stream(self, device: torch.device) -> "Stream":
        assert device == CUDA
        return Stream(self, "copy")

    def new_event(self, *, enable_timing: bool = False, blocking: bool = False) -> "Event":
        self.num_events += 1
        event = Event(self, f"event {self.num_events}", enable_timing, blocking)
        self.alive.add(event)
        return event

    @contextlib.contextmanager
    def stream(self, stream: "Stream") -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before


class Stream:
    def __init__(self, driver: Driver, name: str) -> None:
        self._driver, self.name = driver, name

    def wait_event(self, event: "Event") -> None:
        self._driver.log.append(f"{self.name} waits for {event.name}")


class Event:
    def __init__(self, driver: Driver, name: str, is_timed: bool, sleeps: bool) -> None:
        self._driver, self.name, self._is_timed, self._sleeps = driver, name, is_timed, sleeps

    def record(self, stream: Stream) -> None:
        self._driver.log.append(f"{self.name} on {stream.name}")

    def synchronize(self) -> None:
        assert self._sleeps, "a spinning host takes a loader's core"
        self._driver.log.append(f"host waits for {self.name}")

    def query(self) -> bool:
        return self.name in self._driver.reached

    def elapsed_time(self, other: "Event") -> float:
        assert self._is_timed
        assert other._is_timed
        return self._driver.reached[other.name] - self._driver.reached[self.name]


class Tensor:
    def __init__(self, driver: Driver, name: str) -> None:
        self._driver, self._name = driver, name

    def record_stream(self, stream: Stream) -> None:
        self._driver.log.append(f"{self._name} kept for {stream.name}")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setattr(torch.cuda, "Stream", driver.new_stream)
    monkeypatch.setattr(torch.cuda, "Event", driver.new_event)
    monkeypatch.setattr(torch.cuda, "stream", driver.stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: driver.current)
    return driver


@pytest.fixture
def lane(driver: Driver) -> CudaLane:
    return CudaLane(CUDA)


def hand_over(driver: Driver, lane: CudaLane) -> None:
    """Make a batch and give it to the trainer."""
    with lane.working():
        ready = lane.mark()
    views: Any = Tensor(driver, "views")
    lane.hand_over([views], ready)


def test_the_trainer_waits_on_the_device_and_the_memory_with_it(
    driver: Driver, lane: CudaLane
) -> None:
    hand_over(driver, lane)
    assert driver.log == ["event 1 on copy", "trainer waits for event 1", "views kept for trainer"]


def test_what_an_engine_left_on_the_device_is_waited_for_and_kept(
    driver: Driver, lane: CudaLane
) -> None:
    crops: Any = Tensor(driver, "crops")
    lane.adopt([crops], driver.new_event())
    assert driver.log == ["copy waits for event 1", "crops kept for copy"]
    lane.adopt([crops], None)  # of this lane's own stream, or in host memory
    assert len(driver.log) == 2


def test_the_host_is_one_step_ahead_at_most(driver: Driver, lane: CudaLane) -> None:
    for _ in range(3):
        lane.keep_in_reach()
    steps = [f"event {number} on trainer" for number in (1, 2, 3)]
    assert driver.log == [
        steps[0], steps[1], "host waits for event 1", steps[2], "host waits for event 2",
    ]  # fmt: skip


def test_only_what_the_device_has_waited_counts(driver: Driver, lane: CudaLane) -> None:
    """ms from the end of a step to where the next one may begin; never a wait for the figure."""
    hand_over(driver, lane)  # event 1: no step before it
    for _ in range(3):
        lane.keep_in_reach()  # 2, 5, 8: the ends of steps
        hand_over(driver, lane)  # 3, 6, 9: batches; 4, 7, 10: the trainer's stream has them
    assert lane.take_wait_s() == 0
    driver.reached |= {"event 2": 10, "event 4": 30, "event 5": 100, "event 7": 100}
    assert lane.take_wait_s() == pytest.approx(0.02)
    assert lane.take_wait_s() == 0
    driver.reached |= {"event 8": 200, "event 10": 205}
    assert lane.take_wait_s() == pytest.approx(0.005)


def test_a_batch_that_was_there_and_is_handed_over_late_counts(
    driver: Driver, lane: CudaLane
) -> None:
    """A loader slower than the step: the host waits for the batch to be made ahead, and has not
    yet launched the step of the batch at hand.
    """
    with lane.working():
        ready = lane.mark()
    lane.keep_in_reach()
    lane.hand_over([], ready)
    ready_at, step_ends, handed_over_at = "event 1", "event 2", "event 3"
    driver.reached |= {ready_at: 10, step_ends: 100, handed_over_at: 150}
    assert lane.take_wait_s() == pytest.approx(0.05)


def test_time_between_two_iterations_does_not_count(driver: Driver, lane: CudaLane) -> None:
    lane.keep_in_reach()
    hand_over(driver, lane)
    driver.reached |= {f"event {number}": number for number in range(1, 4)}
    assert lane.take_wait_s() == pytest.approx(0.002)
    hand_over(driver, lane)  # the first batch of another one
    driver.reached |= {f"event {number}": 1e6 for number in range(4, 9)}
    assert lane.take_wait_s() == 0


def test_events_do_not_pile_up_where_nobody_asks(driver: Driver, lane: CudaLane) -> None:
    """In an evaluation, say."""
    for _ in range(50):
        lane.keep_in_reach()
        hand_over(driver, lane)
        driver.reached |= {f"event {number}": 0.0 for number in range(1, driver.num_events + 1)}
    assert len(driver.alive) < 10
