"""A wait for a batch has a limit; one that hangs ends by itself, in one line that says where."""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import EngineOptions, Request
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.engines import rows as rows_module
from swiftsiam.pipeline.engines.rows import RowMaker, Rows
from swiftsiam.pipeline.engines.synthetic_engine import SyntheticEngine
from swiftsiam.pipeline.engines.workers import SharedPlaces
from swiftsiam.pipeline.errors import BadSampleError, MachineError
from swiftsiam.pipeline.loader import Loader
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


@pytest.fixture
def hang(tmp_path: Path, fill_folder: Callable[..., Path]) -> Iterator[Callable[[int], str]]:
    """(index) → key: from now on reading that one of 23 pictures in `tmp_path` waits for ever."""
    fill_folder(tmp_path, {"ant": 9, "bee": 8, "cat": 6})
    source, made = open_source(tmp_path), []

    def hang(index: int) -> str:
        made.append(tmp_path / source.key(index))
        made[-1].unlink()
        os.mkfifo(made[-1])
        return source.key(index)

    yield hang
    for path in made:  # let go of the threads that are still at it
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_picture_that_hangs_is_named_and_the_workers_end(
    engine: str,
    num_workers: int,
    tmp_path: Path,
    hang: Callable[[int], str],
    make_loader: Callable[..., Loader],
    workers: Callable[[], list[psutil.Process]],
) -> None:
    source = open_source(tmp_path)
    index = 12 if engine == "dali" else 4  # behind what is decoded before the first batch comes
    key = hang(index)
    loader = make_loader(source=source, train=False, num_workers=num_workers, stall_s=1000)
    batches = iter(loader)
    next(batches)
    while index not in dict(map(reversed, loader._engine.whereabouts())):
        if not num_workers and engine != "dali":  # it hangs in this thread
            break
        time.sleep(0.001)
    loader._stall.limit_s = SHORT_S
    name = r"(process \d+|swiftsiam-ffcv-0|MainThread|dali-reader-\d)"
    told = rf"^data.stall_s=0.02: .* nothing for 0.02 s; worker {name} is at {re.escape(key)}: see"
    with pytest.raises(MachineError, match=told):
        list(batches)
    assert not workers()


def test_a_row_has_the_index_of_what_is_being_read(
    make_options: Callable[..., EngineOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of a replacement, which may hang as well."""
    options = make_options(max_bad_samples=1)
    rows = Rows(Request(0, np.array([4])), options)
    at = []

    def decode(data: bytes) -> np.ndarray:
        at.append(int(rows.index[0]))
        if len(at) == 1:
            raise BadSampleError("damaged")
        return decode_rgb(data)

    monkeypatch.setattr(rows_module, "decode_rgb", decode)
    assert RowMaker(options).decode_or_next(rows, 0) is not None
    assert at == [4, 5]


def test_shared_places_tell_where_each_worker_is() -> None:
    places = SharedPlaces(3, batch_size=4)
    assert places.taken() == []
    for worker in (0, 2):
        begun, index = places.of_worker(worker, np.array([10, 20, 30]) + worker)
        begun[0] = 2
    index[1] = 99  # a replacement
    assert places.taken() == [(0, 20), (2, 99)]
    begun[0] = 0
    assert places.taken() == [(0, 20)]


@pytest.mark.engine("ffcv")
def test_a_chunk_is_at_its_first_picture_that_is_not_read_or_not_made(
    make_options: Callable[..., EngineOptions],
) -> None:
    from swiftsiam.pipeline.engines.ffcv.loop import DONE
    from swiftsiam.pipeline.engines.ffcv.makers import LoopRows

    rows = LoopRows(
        Request(0, np.array([10, 11, 12, 13])), make_options(), allocate=rows_module.allocate
    )
    assert rows.at(0, 4) == 10
    rows.records["address"][:2] = 1
    assert rows.at(0, 4) == 12
    rows.records["address"][:] = 1
    assert rows.at(0, 4) == 10
    rows.records["status"][:3] = DONE
    assert rows.at(0, 4) == 13
    assert rows.at(0, 2) == -1


@pytest.mark.engine("dali")
def test_threads_of_which_one_hangs_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from swiftsiam.pipeline.engines.dali import threads

    monkeypatch.setattr(threads, "_JOIN_S", SHORT_S)
    pool = threads.DaemonThreads(1, name="hung")
    assert pool.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result()
    event, stopping = threading.Event(), threading.Event()
    hung, waiting = pool.submit(event.wait), pool.submit(divmod, 7, 2)
    stopping.set()
    with pytest.raises(threads.StoppedError):
        threads.result_unless(stopping, hung)
    pool.shutdown(cancel_futures=True)
    assert waiting.cancelled()
    (thread,) = pool._threads
    assert thread.daemon
    event.set()
    thread.join()
    assert threads.result_unless(stopping, hung)
