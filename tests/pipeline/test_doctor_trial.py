"""The trial that doctor makes: whatever becomes of the child, the answer is one line."""

import re
import sys
from pathlib import Path

import pytest
from swiftsiam.pipeline import doctor
from swiftsiam.pipeline.engines.dali import trial
from swiftsiam.pipeline.engines.dali.trial import Trial, try_decoding


@pytest.mark.engine("dali")
def test_versions_are_those_of_the_decoder() -> None:
    (finding,) = (each for each in doctor._examine_engines() if each.name == "dali engine")
    assert re.search(r"; DALI 2\.[\d.]+, nvImageCodec 0\.[\d.]+$", finding.detail)


@pytest.mark.slow
@pytest.mark.engine("dali")
def test_the_graph_runs_on_a_cpu() -> None:
    assert try_decoding("cpu") == Trial(True, "one picture tried, off by 0 of 255 at most")


@pytest.mark.gpu
@pytest.mark.engine("dali")
def test_the_graph_runs_on_a_gpu() -> None:
    assert try_decoding("cuda:0").works


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """(shell lines) → what the child does instead."""

    def child(lines: str) -> None:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return child


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("kill -SEGV $$", Trial(False, "the process was ended by signal 11")),
        ("echo 'no driver\nfar away' >&2; exit 1", Trial(False, "no driver")),
        ("exit 3", Trial(False, "exit code 3")),
        ("echo '{\"worst\": 2}'", Trial(True, "one picture tried, off by 2 of 255 at most")),
        ("echo '{\"worst\": 60}'", Trial(False, "one picture tried, off by 60 of 255 at most")),
    ],
)
def test_whatever_becomes_of_the_child(child, lines: str, expected: Trial) -> None:
    child(lines)
    assert try_decoding("cuda:0") == expected


def test_a_child_that_hangs_is_given_up(child) -> None:
    child("exec sleep 1000")
    expected = Trial(False, "one picture did not come out in 0.1 s")
    assert try_decoding("cuda:0", timeout_s=0.1) == expected


@pytest.mark.slow
@pytest.mark.engine("dali")
def test_dalis_own_failure_is_told() -> None:
    """Not hidden by the engine, which would decode a few pictures without it."""
    answer = try_decoding("cuda:0")
    if not answer.works:  # no GPU here, or one that DALI cannot use
        assert "off by" not in answer.detail
        assert len(answer.detail) > 10


@pytest.mark.engine("dali")
@pytest.mark.parametrize("works", [True, False])
def test_doctor_tells_it_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch, works: bool) -> None:
    monkeypatch.setattr(doctor, "_has_gpu", lambda: True)
    monkeypatch.setattr(trial, "try_decoding", lambda device: Trial(works, f"on {device}"))
    findings = {finding.name: finding for finding in doctor._examine_engines()}
    finding = findings["dali engine, GPU"]
    assert finding.status == ("ok" if works else "broken")
    assert "on cuda:0" in finding.detail
    assert bool(finding.remedy) != works
