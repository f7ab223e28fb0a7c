"""What others take of the machine is told apart from what a benchmark takes itself."""

import subprocess
import sys
import time

import psutil
from swiftsiam.benchmarks.neighbours import Neighbours, _look, core_s, kill_tree

SPIN = "import time\nwhile time.process_time() < 1: pass"
READY_SPIN = f"{SPIN}\nprint('spun', flush=True)\ntime.sleep(600)"


def test_core_time_is_that_of_all_descendants() -> None:
    before = core_s(psutil.Process())
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])"
    subprocess.run([sys.executable, "-c", nested], check=True)
    assert core_s(psutil.Process()) - before > 0.95  # they have ended by now


def test_the_work_of_what_is_killed_with_its_children_stays_ours() -> None:
    """A killed process waits for nobody, and what its children took would be a stranger's."""
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {READY_SPIN!r}])"
    before = _look().own
    with subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"spun\n"
        kill_tree(psutil.Process(process.pid))
    assert _look().own - before > 0.95
    assert not psutil.pid_exists(process.pid)


def test_own_work_is_not_that_of_others() -> None:
    """The same second of work, once as ours and once as a stranger's."""

    def busy_s(command: list[str]) -> float:
        watch, begun = Neighbours(), time.monotonic()
        subprocess.run(command, check=True)
        told = watch.tell()
        assert told is not None
        seconds = time.monotonic() - begun
        return told["others_percent"] / 100 * seconds * psutil.cpu_count()

    # A double fork: nobody's child.
    stranger = f"""
import os, sys
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.close(reader)
        exec({SPIN!r})
    os._exit(0)
os.close(writer)
os.wait()
os.read(reader, 1)
"""
    mine = [busy_s([sys.executable, "-c", SPIN]) for _ in range(3)]
    theirs = [busy_s([sys.executable, "-c", stranger]) for _ in range(3)]
    assert min(theirs) > 0.8
    assert max(theirs) > min(mine) + 0.5
