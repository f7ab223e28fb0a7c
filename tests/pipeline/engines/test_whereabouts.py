"""Where the workers of an engine are, and that none that hangs keeps a process from its end."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from swiftsiam.pipeline.contract import EngineOptions, Request
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.engines import build
from swiftsiam.pipeline.engines import rows as rows_module
from swiftsiam.pipeline.engines import workers as workers_module
from swiftsiam.pipeline.engines.rows import RowMaker, Rows
from swiftsiam.pipeline.engines.workers import SharedPlaces, killing_the_hung
from swiftsiam.pipeline.errors import BadSampleError, MachineError
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.stall import StalledError, StallLimit

# pytest's own time limit would otherwise have the timer, and nothing be armed.
pytestmark = pytest.mark.timeout(method="thread")

SHORT_S = 0.02


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


@pytest.mark.parametrize("num_workers", [0, 1])
def test_behind_its_last_batch_no_worker_is_at_work(
    engine: str, make_options: Callable[..., EngineOptions], num_workers: int
) -> None:
    built = build(engine, make_options(num_workers=num_workers))
    requests = [Request(0, np.arange(4)), Request(0, np.arange(4, 8))]
    assert len(list(built.stream(iter(requests)))) == 2
    assert built.whereabouts() == []
    built.close()


@pytest.mark.engine("dali")
def test_a_replacement_that_hangs_is_named_and_let_go(
    make_options: Callable[..., EngineOptions],
    tmp_path: Path,
    hang: Callable[[int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that a thread of the kernel reads."""
    from swiftsiam.pipeline.engines.dali import engine as dali_engine

    monkeypatch.setattr(dali_engine, "_CLOSE_S", SHORT_S)
    source = open_source(tmp_path)
    (tmp_path / source.key(4)).write_bytes(b"junk")
    hang(5)
    engine = dali_engine.build(make_options(source=source, max_bad_samples=1))
    results = engine.stream(iter([Request(0, np.array([3, 4]))]))
    while engine.whereabouts() != [("dali-producer", 5)]:
        time.sleep(0.001)
    with pytest.raises(StalledError):
        StallLimit(SHORT_S).next(results, is_first=False)
    engine.close()


def test_workers_that_do_not_end_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def __init__(self) -> None:
            self.killed = threading.Event()

        def kill(self) -> None:
            self.killed.set()

    ends, hangs = Worker(), [Worker(), Worker()]
    before = threading.enumerate()
    with killing_the_hung([ends]):
        pass
    for thread in set(threading.enumerate()).difference(before):
        thread.join()
    monkeypatch.setattr(workers_module, "_KILL_S", SHORT_S)
    with killing_the_hung(hangs):
        for worker in hangs:
            worker.killed.wait()
    assert not ends.killed.is_set()


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
