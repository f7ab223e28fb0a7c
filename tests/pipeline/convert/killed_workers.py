"""`swiftsiam convert` with worker processes, in which something is killed at a counted write.

The environment says what: KILL_IN, `parent` or `worker`, whose writes are counted, each worker's by
themselves; KILL_AT, the number of the write; KILL_WHAT, `parent`, `worker` or `group`. It is done
once, by whoever comes to it first, and KILLED is the file that appears with it. Each worker adds
its number to the file WORKERS.
"""

import multiprocessing
import os
import signal
import sys

from swiftsiam.__main__ import main as run_command
from swiftsiam.pipeline.convert import driver, gather, planning, tasks
from swiftsiam.pipeline.convert.formats import beton

COUNTED = ("pwrite", "pwritev", "fsync", "replace", "rename", "ftruncate", "mkdir", "unlink")
SMALL = [
    *((module, "CHUNK", 2) for module in (driver, gather, tasks)),
    *((module, "PART_SIZE", 20_000) for module in (driver, planning, beton)),
]
"""Module, name and value: chunks and parts of few pictures, some for both workers."""

_prepare = tasks.prepare


def main() -> int:
    """The command, with the arguments of this process."""
    _make_small()
    driver.prepare = prepare
    if os.environ.get("KILL_IN") == "parent":
        _count_down()
    sys.argv[1:1] = ["convert"]
    return run_command()


def prepare(shared: tasks.Shared) -> None:
    """In place of the one of `tasks`, in each worker."""
    _make_small()
    with open(os.environ["WORKERS"], "a") as file:
        file.write(f"{os.getpid()}\n")
    if os.environ.get("KILL_IN") == "worker":
        _count_down()
    _prepare(shared)


def _make_small() -> None:
    for module, name, value in SMALL:
        setattr(module, name, value)


def _count_down() -> None:
    left = int(os.environ["KILL_AT"])

    def counted(call):
        def counting(*args, **options):
            nonlocal left
            if left <= 0:
                _kill()
            left -= 1
            return call(*args, **options)

        return counting

    for name in COUNTED:
        setattr(os, name, counted(getattr(os, name)))


def _kill() -> None:
    what = os.environ["KILL_WHAT"]
    above = multiprocessing.parent_process()
    if what == "group":
        victim = 0
    elif what == "parent":
        victim = above.pid if above else os.getpid()
    else:
        children = multiprocessing.active_children()
        workers = [os.getpid()] if above else [child.pid for child in children]
        if not workers:  # not yet, or not any more
            return
        victim = workers[0]
    try:
        os.close(os.open(os.environ["KILLED"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    (os.killpg if what == "group" else os.kill)(victim, signal.SIGKILL)
