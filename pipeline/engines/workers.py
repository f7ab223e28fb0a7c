"""Starting worker processes, and saying where they are and what has become of them."""

import ctypes
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, process, util
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from typing import TypeVar

import numpy as np

from ..errors import MachineError

S = TypeVar("S")
T = TypeVar("T")

_SAFE_PATH = "PYTHONSAFEPATH"
_KILL_S = 4.0  # less than the five seconds that a DataLoader waits for each worker in turn
_LONGEST = 60  # bytes of a temporary folder, below which multiprocessing names two levels more


def worker_context(module: str) -> BaseContext:
    """The forkserver, which imports `module` once; each worker then starts in milliseconds.

    A plain fork would copy locks that other threads of the trainer hold.
    """
    _shorten_temporary_folder()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    with _undisturbed():
        forkserver.ensure_running()
    return context


def _shorten_temporary_folder() -> None:
    """Sockets lie in multiprocessing's temporary folder, and their paths may have 107 bytes."""
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST or not os.access("/tmp", os.W_OK):
        return
    settings = process.current_process()._config  # type: ignore[attr-defined]
    if settings.get("tempdir") is None:
        folder = tempfile.mkdtemp(prefix="pymp-", dir="/tmp")
        util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
        settings["tempdir"] = folder


@contextmanager
def _undisturbed() -> Iterator[None]:
    """For the server that is started here, and all of its workers.

    A folder called like a package of ours, in the working folder, must not be imported instead.
    And Ctrl-C, which a terminal sends to all processes, is the trainer's to handle; ignored from
    the first instruction on, it leaves no worker's traceback.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before
        if is_main:
            signal.signal(signal.SIGINT, handler)


def watch(results: Iterator[S], open_result: Callable[[S], T]) -> Iterator[T]:
    """Open each result, and say which worker has died when it cannot be had.

    The DataLoader notices a worker's death while it waits for a batch. But a batch is a handle to
    memory, which is asked of its worker when the handle has come.
    """
    workers: list[BaseProcess] = getattr(results, "_workers", [])
    try:
        for result in results:
            yield open_result(result)
    except (OSError, EOFError, RuntimeError) as error:
        dead = wait([worker.sentinel for worker in workers], timeout=1)
        if not dead:
            raise
        died = next(worker for worker in workers if worker.sentinel in dead)
        raise MachineError(
            f"loader worker {died.pid} exited unexpectedly ({_how(died)}); if memory ran out, use "
            "a smaller data.num_workers or train.batch_size, then resume"
        ) from error


def _how(worker: BaseProcess) -> str:
    """What ended a process, in words."""
    worker.join()
    code = worker.exitcode or 0
    if code == -signal.SIGKILL:
        return "killed, as the system does when memory runs out"
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


class SharedPlaces:
    """Which sample each worker is at, in memory that it shares with the trainer."""

    def __init__(self, num_workers: int, *, batch_size: int) -> None:
        """
        Args:
            num_workers: 0: the trainer itself.
            batch_size: of the largest batch.
        """
        # Not a tensor's: shared memory may be full, and this finds another place then.
        self._memory = RawArray(ctypes.c_int64, max(num_workers, 1) * (1 + batch_size))
        self._width = 1 + batch_size

    def of_worker(self, worker: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For a worker's next batch: (1,) int64, the rows begun, 0 behind the batch; and (B,)
        int64, the index of each row, which the trainer sees as well.
        """
        place = self._places()[worker]
        place[1 : 1 + len(index)] = index
        return place[:1], place[1 : 1 + len(index)]

    def taken(self) -> list[tuple[int, int]]:
        """(worker, index of the sample that it is at) of those at work."""
        places = self._places()
        return [(int(at), int(places[at, places[at, 0]])) for at in np.flatnonzero(places[:, 0])]

    def _places(self) -> np.ndarray:
        return np.ctypeslib.as_array(self._memory).reshape(-1, self._width)


@contextmanager
def killing_the_hung(workers: Sequence[BaseProcess]) -> Iterator[None]:
    """While workers are being stopped: those that do not end by themselves are killed, all at once.

    SIGTERM, which torch handles, would not end one that waits for a network's disk.
    """

    def kill() -> None:
        for worker in workers:
            worker.kill()

    timer = threading.Timer(_KILL_S, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def join_feeders(iterator: object) -> None:
    """Wait for the threads that fed a DataLoader's queues, once its workers have ended.

    torch leaves them to end by themselves. The last to let go of a queue's locks then takes their
    names back in two steps, and where the process ends between these, Python warns of locks that
    have leaked.
    """
    results = getattr(iterator, "_worker_result_queue", None)
    for queue in (*getattr(iterator, "_index_queues", []), results):
        feeder = getattr(queue, "_thread", None)
        if feeder is not None:
            feeder.join(_KILL_S)
