"""Contestants as processes: rounds in turn, and one that dies or hangs is left out by name."""

import sys
from functools import partial

import psutil
import pytest
from swiftsiam.benchmarks.racer import MARK, Racer, RacerError, race

READY = f"print('{MARK}' + '{{}}', flush=True)"
ANSWERS = f"""
import sys, json
{READY}
for number, line in enumerate(sys.stdin):
    print("noise of a library")
    print("{MARK}" + json.dumps({{"number": number, "asked": line.strip()}}), flush=True)
"""
DIES = f"import os, sys\n{READY}\nsys.stdin.readline()\nos.kill(os.getpid(), 9)"
ENDS = f"{READY}\nraise SystemExit(3)"
HANGS = f"import sys\n{READY}\nwhile True: sys.stdin.readline()"
NEVER_READY = "import sys\nsys.stdin.readline()"
WORKS = f"""
import subprocess, sys, json
{READY}
for line in sys.stdin:
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.5: pass"])
    print("{MARK}" + "{{}}", flush=True)
"""


def start(script: str, *, name: str = "one", limit_s: float = 60.0) -> Racer:
    return Racer(name, [sys.executable, "-c", script], limit_s=limit_s)


def test_rounds_are_asked_in_turn_and_all_are_ended(capfd: pytest.CaptureFixture[str]) -> None:
    starts = {name: partial(start, ANSWERS, name=name) for name in ("one", "two")}
    racers, answers, failures = race(starts, rounds=3, warm_up="0", line="7", last="1")
    assert failures == {}
    for name in ("one", "two"):
        told = [(answer["number"], answer["asked"]) for answer in answers[name]]
        assert told == [(1, "7"), (2, "7"), (3, "7"), (4, "1")]
        assert not psutil.pid_exists(racers[name]._process.pid)
    err = capfd.readouterr().err
    assert "one: noise of a library" in err
    assert err.index("two: noise") < err.index("round 1/3")


def test_core_time_is_that_of_the_whole_tree() -> None:
    racer = start(WORKS)
    try:
        told = racer.ask("go")
    finally:
        racer.stop()
    assert told["core_s"] > 0.4
    assert told["memory_mb"] > 1


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (DIES, "bad: was killed by signal 9; see above"),
        (ENDS, "bad: ended with 3; see above"),
        (HANGS, "bad: has not answered for 2 s"),
        (NEVER_READY, "bad: has not answered for 2 s"),
    ],
    ids=["dies", "ends", "hangs", "never ready"],
)
def test_one_that_fails_is_left_out_and_the_others_go_on(script: str, why: str) -> None:
    limit_s = 2.0 if "answered" in why else 60.0
    starts = {
        "bad": partial(start, script, name="bad", limit_s=limit_s),
        "good": partial(start, ANSWERS, name="good"),
    }
    racers, answers, failures = race(starts, rounds=2, warm_up="0", line="7", last="1")
    assert failures == {"bad": why}
    assert list(answers) == ["good"]
    assert len(answers["good"]) == 2 + 1
    assert all(not psutil.pid_exists(racer._process.pid) for racer in racers.values())


def test_a_contestant_that_never_becomes_ready_is_ended() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(RacerError, match="has not answered for 1 s"):
        start(NEVER_READY, limit_s=1.0)
    assert set(psutil.Process().children()) <= before
