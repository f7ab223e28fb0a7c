"""Worker processes: their death is noticed, nothing is left behind, two loaders run at once."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.queues import Queue

import psutil
import pytest
import torch
from swiftsiam.pipeline.loader import Loader

pytestmark = pytest.mark.slow

MakeLoader = Callable[..., Loader]
Workers = Callable[[], list[psutil.Process]]


@pytest.mark.usefixtures("process_engine")
@pytest.mark.parametrize("at", ["at work", "with a batch under way"])
def test_a_killed_worker_ends_the_iteration(
    make_loader: MakeLoader, workers: Workers, at: str
) -> None:
    loader = make_loader(num_workers=2)
    list(loader)  # and the workers go on, into the next epoch
    if at == "with a batch under way":
        wait([loader._engine._iterator._worker_result_queue._reader])
    os.kill(workers()[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"worker .*exited unexpectedly"):
        list(itertools.chain.from_iterable([loader] * 10))  # what was made ahead may still come
    assert not workers()
    assert len(list(loader)) > 0  # it can be used again


@pytest.mark.usefixtures("process_engine")
def test_no_thread_of_a_queue_outlives_its_workers(
    make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Queue._feed

    def feed_and_linger(*args: object) -> None:
        feed(*args)
        time.sleep(0.5)  # as a thread does that another one has pushed off its core

    monkeypatch.setattr(Queue, "_feed", staticmethod(feed_and_linger))
    with make_loader(num_workers=2) as loader:
        next(iter(loader))
    assert not [thread for thread in threading.enumerate() if "Feeder" in thread.name]


def test_an_error_in_a_worker_is_raised_here(make_loader: MakeLoader, workers: Workers) -> None:
    loader = make_loader(source=Unreadable(), num_workers=1)
    with pytest.raises(ZeroDivisionError, match="told to fail"):
        list(loader)
    assert not workers()


class Unreadable:
    """A source with a bug."""

    classes = ("a",)
    labels = torch.zeros(8, dtype=torch.int64).numpy()

    def __len__(self) -> int:
        return 8

    def key(self, index: int) -> str:
        return str(index)

    def read(self, index: int) -> bytes:
        raise ZeroDivisionError("told to fail")


@pytest.mark.usefixtures("process_engine")
def test_closing_leaves_no_process_and_may_be_repeated(
    make_loader: MakeLoader, workers: Workers
) -> None:
    loader = make_loader(num_workers=2)
    loader.close()  # before anything was started
    batches = iter(loader)
    next(batches)
    assert len(workers()) == 2
    loader.close()
    loader.close()
    assert not workers()
    with make_loader(num_workers=1) as other:
        list(other)
        assert len(workers()) == 1
    assert not workers()


def test_an_early_break_leaves_no_process(make_loader: MakeLoader, workers: Workers) -> None:
    for _ in make_loader(num_workers=1):
        break
    assert not workers()


def test_training_and_validation_at_once(make_loader: MakeLoader) -> None:
    expected_train = list(make_loader())
    expected_val = list(make_loader(train=False))
    train, val = make_loader(num_workers=1), make_loader(train=False, num_workers=1)
    seen_train, seen_val = [], []
    for batch in train:
        seen_train.append(batch)
        seen_val += list(val) if len(seen_train) == 2 else []
    for seen, expected in ((seen_train, expected_train), (seen_val, expected_val)):
        assert len(seen) == len(expected)
        for one, other in zip(seen, expected, strict=True):
            assert all(map(torch.equal, one.views, other.views))


def test_importing_the_pipeline_imports_no_engine() -> None:
    program = (
        "import sys, swiftsiam.pipeline.loader\n"
        "heavy = {'nvidia.dali', 'ffcv', 'swiftsiam.model', 'swiftsiam.train'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
