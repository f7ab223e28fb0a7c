"""The runs of a table: what fails, what is asked for again, what goes side by side."""

import dataclasses
import os
import signal
import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import MachineError, UserError
from swiftsiam.pipeline.machine import num_cores
from swiftsiam.train.lab import running, seats
from swiftsiam.train.lab.running import run_all
from swiftsiam.train.lab.runs import Wanted, list_wanted
from swiftsiam.train.lab.seats import WHOLE, Seat, make_seats

from .conftest import MakeTable

# In the place of `swiftsiam pretrain`: some fail, others wait for each other.
RUN = """
import os, pathlib, sys
path, meets = pathlib.Path(sys.argv[1]), sys.argv[2:]
path.mkdir(parents=True)
cores = " ".join(map(str, sorted(os.sched_getaffinity(0))))
(path / "seat").write_text(f"{cores};{os.environ.get('CUDA_VISIBLE_DEVICES')}")
if path.name.startswith("asymmetric-s"):
    sys.exit("no such thing")
while not all((path.parent / other / "seat").exists() for other in meets):
    pass
(path / "summary.json").write_text("{}")
"""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were begun, of which asymmetric ones fail."""
    return fake_runs(monkeypatch)


def fake_runs(monkeypatch: pytest.MonkeyPatch, *meets: str, program: str = RUN) -> list[str]:
    """
    Args:
        monkeypatch: of the test.
        meets: runs that each waits for to have begun.
        program: that is run.
    """
    names: list[str] = []

    def command(each: Wanted, _: Path) -> list[str]:
        names.append(each.name)
        each.path.joinpath("seat").unlink(missing_ok=True)
        if each.path.exists():
            each.path.rmdir()
        return [sys.executable, "-S", "-c", program, str(each.path), *meets]

    monkeypatch.setattr(running, "_command", command)
    return names


def test_a_run_that_fails_takes_no_others_with_it(make_table: MakeTable, begun: list[str]) -> None:
    plan, folder = make_table("symmetry", {})
    told: list[str] = []
    with pytest.raises(MachineError, match=r"1 of 3 runs failed.*asymmetric-s0: failed"):
        run_all(plan, folder, tell=told.append, after_each=lambda: None)
    assert begun == ["simsiam-s0", "asymmetric-s0", "asymmetric-2x-s0"]
    assert any("asymmetric-s0: failed with exit code 1: no such thing" in text for text in told)
    begun.clear()
    with pytest.raises(MachineError):  # the same command tries that one again, and no other
        run_all(plan, folder, tell=told.append, after_each=lambda: None)
    assert begun == ["asymmetric-s0"]


def test_a_first_run_that_fails_is_told_at_once(make_table: MakeTable, begun: list[str]) -> None:
    plan, folder = make_table("symmetry", {})
    rows = plan.rows[1:]
    with pytest.raises(MachineError, match="asymmetric-s0"):
        run_all(
            dataclasses.replace(plan, rows=rows),
            folder,
            tell=lambda _: None,
            after_each=lambda: None,
        )
    assert begun == ["asymmetric-s0"]


def test_one_that_always_fails_keeps_no_other_seed_back(
    make_table: MakeTable, begun: list[str]
) -> None:
    plan, folder = make_table("symmetry", {"simsiam": [1.0], "asymmetric-2x": [1.0]})
    plan = dataclasses.replace(plan, seeds=2)
    with pytest.raises(MachineError, match="2 of 4 runs failed"):
        run_all(plan, folder, tell=lambda _: None, after_each=lambda: None)
    assert begun == ["asymmetric-s0", "simsiam-s1", "asymmetric-s1", "asymmetric-2x-s1"]


def test_runs_go_side_by_side_each_in_its_seat(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of the two comes to its end before the other has begun."""
    names = ("simsiam-s0", "cross-entropy-s0")
    begun = fake_runs(monkeypatch, *names)
    plan, folder = make_table("similarity", {})
    core = min(os.sched_getaffinity(0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "none of these")
    places = [Seat(cores=(core,), gpu="3"), Seat(gpu="5")]
    written: list[int] = []
    done = run_all(
        plan, folder, seats=places, tell=lambda _: None, after_each=lambda: written.append(1)
    )
    assert done
    assert begun == [*names]
    assert len(written) == 2
    everywhere = " ".join(map(str, sorted(os.sched_getaffinity(0))))
    assert everywhere  # of this process, as before
    told = [(folder / "runs" / name / "seat").read_text() for name in names]
    assert told == [f"{core};3", f"{everywhere};5"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "none of these"


def test_a_stop_reaches_all_that_go_on(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "import signal; signal.pause()"
    begun = fake_runs(monkeypatch, program=endless)
    plan, folder = make_table("symmetry", {})

    def tell(text: str) -> None:
        if text.startswith("run 2"):  # is begun still, and the third is not
            signal.raise_signal(signal.SIGTERM)

    assert not run_all(
        plan, folder, seats=[WHOLE] * 3, tell=tell, after_each=lambda: pytest.fail("none ended")
    )
    assert begun == ["simsiam-s0", "asymmetric-s0"]


def test_a_failing_first_run_stops_the_others(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import signal, sys; 'asym' in sys.argv[1] and sys.exit('bad'); signal.pause()"
    fake_runs(monkeypatch, program=program)
    plan, folder = make_table("symmetry", {})
    with pytest.raises(MachineError, match="bad"):
        run_all(plan, folder, seats=[WHOLE] * 2, tell=lambda _: None, after_each=lambda: None)


def test_a_run_ends_with_the_laboratory_that_was_killed(make_table: MakeTable) -> None:
    _, folder = make_table("similarity", {})
    (folder / "logs").mkdir()
    program = f"""
import os, pathlib, signal
from swiftsiam.train.lab import running
from swiftsiam.train.lab.plan import read_plan
from swiftsiam.train.lab.runs import list_wanted
from swiftsiam.train.lab.seats import WHOLE
folder = pathlib.Path({str(folder)!r})
running._command = lambda *_: ["sleep", "infinity"]
each = list_wanted(read_plan(folder / "lab.json"), folder)[0]
print(running._Running(each, folder, WHOLE).process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    try:
        left = os.pidfd_open(int(killed.stdout))
    except ProcessLookupError:
        return
    assert wait([left]) == [left]


def test_seats_divide_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_seats(None, "cpu") == [WHOLE]
    with pytest.raises(UserError, match=rf"--jobs={num_cores() + 1}: there are {num_cores()} "):
        make_seats(num_cores() + 1, "cpu")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("swiftsiam.pipeline.machine._cgroup_quota", lambda: None)
    assert [seat.cores for seat in make_seats(3, "cpu")] == [(0, 1), (2, 3), (4, 5)]
    monkeypatch.setattr("swiftsiam.pipeline.machine._cgroup_quota", lambda: 4.0)
    assert [seat.cores for seat in make_seats(2, "cpu")] == [(0, 1), (4, 5)]

    monkeypatch.setattr(seats.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [seat.gpu for seat in make_seats(None, "cuda")] == ["0", "1"]
    assert [seat.gpu for seat in make_seats(3, "cuda")] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7")
    assert [seat.gpu for seat in make_seats(None, "cuda")] == ["4", "GPU-7"]


def test_all_rows_come_with_one_seed_before_the_next(make_table: MakeTable) -> None:
    plan, folder = make_table("similarity", {"simsiam": [1.0, 2.0]})
    names = [each.path.name for each in list_wanted(plan, folder)]
    assert names == ["simsiam-s0", "cross-entropy-s0", "simsiam-s1", "cross-entropy-s1"]
    first, *others = list_wanted(plan, folder)
    assert "eval.floors=true" in first.overrides
    assert not any("eval.floors=true" in each.overrides for each in others)
