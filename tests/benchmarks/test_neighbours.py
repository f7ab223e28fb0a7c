"""What others take of the machine is told apart from what a benchmark takes itself."""

import subprocess
import sys

import psutil
import pytest
from swiftsiam.benchmarks import neighbours
from swiftsiam.benchmarks.neighbours import Neighbours, _look, _Moment, core_s, kill_tree

SPIN = "import time\nwhile time.process_time() < 1: pass"
READY_SPIN = f"{SPIN}\nprint('spun', flush=True)\ntime.sleep(600)"


def test_core_time_is_that_of_all_descendants() -> None:
    before = core_s(psutil.Process())
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN!r}])"
    subprocess.run([sys.executable, "-c", nested], check=True)
    assert core_s(psutil.Process()) - before > 0.9  # they have ended by now


def test_the_work_of_what_is_killed_with_its_children_stays_ours() -> None:
    """A killed process waits for nobody, and what its children took would be a stranger's."""
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {READY_SPIN!r}])"
    before = _look().own
    with subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"spun\n"
        kill_tree(psutil.Process(process.pid))
    assert _look().own - before > 0.9
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize(
    ("own", "busy", "percent"),
    [(4.0, 4.0, 0.0), (4.0, 7.0, 15.0), (0.0, 20.0, 100.0), (5.0, 4.9, 0.0)],
)
def test_what_others_take_is_what_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, own: float, busy: float, percent: float
) -> None:
    """Two cores, ten seconds; counted from the moment at which it was made."""
    begun = _Moment(now=100.0, busy=1000.0, own=50.0, num_cores=2)
    ended = _Moment(now=110.0, busy=1000.0 + busy, own=50.0 + own, num_cores=2)
    moments = iter([begun, ended])
    monkeypatch.setattr(neighbours, "_look", lambda: next(moments))
    told = Neighbours().tell()
    assert told is not None
    assert told["others_percent"] == pytest.approx(percent)


def test_where_the_system_does_not_say_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_look", lambda: None)
    assert Neighbours().tell() is None


def test_the_system_is_read_as_it_is() -> None:
    before = _look()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    after = _look()
    assert before is not None
    assert after is not None
    assert after.now - before.now > 0.9
    assert after.busy - before.busy > 0.9  # ours is among it, whatever others did
    assert after.own - before.own > 0.9
    assert after.num_cores == psutil.cpu_count()
