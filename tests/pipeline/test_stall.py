"""A wait for a batch has a limit; one that hangs ends by itself, in one line that says where."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.engines.synthetic_engine import SyntheticEngine
from swiftsiam.pipeline.errors import MachineError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.stall import StalledError, StallLimit, describe

# pytest's own time limit would otherwise have the timer, and nothing be armed.
pytestmark = pytest.mark.timeout(method="thread")

SHORT_S = 0.02


def armed() -> tuple[float, float]:
    return signal.getitimer(signal.ITIMER_REAL)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """The timer does not run, and the handler of before is back."""

    def handler(*_: object) -> None:
        raise AssertionError("an alarm that nobody waits for")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
        assert armed() == (0, 0)
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def hanging() -> Iterator[int]:
    threading.Event().wait()
    yield 0


@pytest.mark.parametrize("is_first", [False, True])
def test_a_wait_without_end_is_ended(is_first: bool) -> None:
    with pytest.raises(StalledError) as raised:
        StallLimit(SHORT_S).next(hanging(), is_first=is_first)
    assert raised.value.waited_s == pytest.approx(SHORT_S * (5 if is_first else 1))


def test_no_reader_takes_it_for_a_damaged_picture() -> None:
    def reading() -> Iterator[int]:
        try:
            threading.Event().wait()
        except Exception:
            yield 0

    with pytest.raises(StalledError):
        StallLimit(SHORT_S).next(reading(), is_first=False)


def test_each_wait_is_armed_anew_and_the_first_one_for_longer() -> None:
    seen = []

    def batches() -> Iterator[int]:
        for number in range(3):
            seen.append(armed())
            yield number

    limit, delivered = StallLimit(1000), batches()
    for number in range(3):
        assert limit.next(delivered, is_first=number == 0) == number
        assert armed() == (0, 0)
    assert [interval for _, interval in seen] == pytest.approx([500, 100, 100])
    with pytest.raises(StopIteration):
        limit.next(delivered, is_first=False)


def test_an_error_disarms_it() -> None:
    with pytest.raises(ZeroDivisionError):
        StallLimit(1000).next((1 // zero for zero in [0]), is_first=False)


@pytest.mark.parametrize("rings", [9, 10])
def test_a_process_that_was_suspended_has_time_left(rings: int) -> None:
    """What rang meanwhile rings once."""

    def suspended() -> Iterator[int]:
        for _ in range(rings):
            signal.raise_signal(signal.SIGALRM)
        yield 7

    limit = StallLimit(1000)
    if rings == 9:
        assert limit.next(suspended(), is_first=False) == 7
    else:
        with pytest.raises(StalledError):
            limit.next(suspended(), is_first=False)


def test_without_a_limit_or_in_another_thread_nothing_is_armed() -> None:
    seen = []

    def batches() -> Iterator[int]:
        while True:
            seen.append(armed())
            yield 0

    StallLimit(None).next(batches(), is_first=False)
    thread = threading.Thread(
        target=StallLimit(1000).next, args=(batches(),), kwargs={"is_first": 0}
    )
    thread.start()
    thread.join()
    assert seen == [(0, 0)] * 2


def test_a_timer_that_runs_is_left_alone() -> None:
    signal.setitimer(signal.ITIMER_REAL, 5000, 3000)
    handler = signal.getsignal(signal.SIGALRM)
    seen = []

    def batches() -> Iterator[int]:
        seen.append((armed()[1], signal.getsignal(signal.SIGALRM)))
        yield 0

    StallLimit(1000).next(batches(), is_first=False)
    assert seen == [(3000, handler)]
    assert armed()[1] == 3000
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_many_workers_are_told_by_a_few() -> None:
    assert (
        describe([("a", "1.jpg"), ("b", "2.jpg")]) == "worker a is at 1.jpg, worker b is at 2.jpg"
    )
    assert describe([(str(n), "x") for n in range(9)]).endswith(
        "worker 3 is at x, and 5 more are at work"
    )


def test_where_no_worker_is_known_the_batch_is_told(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyntheticEngine, "stream", lambda self, requests: hanging())
    loader = build_loader(
        source=open_source(class_folder),
        specs=build_train_specs(AugmentConfig(size=16)),
        global_batch_size=4,
        train=True,
        engine="synthetic",
        stall_s=SHORT_S,
    )
    loader.load({"epoch": 3, "position": 8})
    told = (
        r"^data.stall_s=0.02: the loader has delivered nothing for 0.1 s; it waits for the batch "
        r"of epoch 3 at position 8: see whether its disk answers, then continue with --resume, or "
        r"allow more$"
    )
    with pytest.raises(MachineError, match=told):
        next(iter(loader))
    assert loader.state() == {"epoch": 3, "position": 8}
