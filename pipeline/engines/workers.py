"""Starting worker processes, and saying what has become of them."""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, process, util
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import TypeVar

from ..errors import MachineError

S = TypeVar("S")
T = TypeVar("T")

_SAFE_PATH = "PYTHONSAFEPATH"
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
