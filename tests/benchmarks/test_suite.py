"""`bench all`: what is run, what becomes of one that fails, and the verdicts in the end."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from swiftsiam.benchmarks import suite
from swiftsiam.benchmarks.command import _BENCHMARKS, main
from swiftsiam.pipeline.errors import MachineError, UserError

MACHINE = {"cpu": "a", "cores": 2, "gpu": None, "versions": {}, "commit": None}
Run = list[list[str]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands that would have been run; each writes a verdict of its name."""
    commands: Run = []

    def run(command: list[str], *, check: bool, timeout: float) -> SimpleNamespace:
        commands.append(command[command.index("bench") + 1 :])
        written = [part.removeprefix("--json=") for part in command if part.startswith("--json=")]
        for path in written:
            verdict = {
                "machine": MACHINE,
                "scope": "verdict",
                "engine": "none",
                "work": "",
                "lines": [f"limited by {commands[-1][0]}"],
            }
            Path(path).write_text(json.dumps([verdict]))
        return SimpleNamespace(returncode=7 if commands[-1][0] == "failing" else 0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_all_are_run_and_their_verdicts_repeated(
    ran: Run, class_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["all", f"--data={class_folder}", f"--out={tmp_path / 'out'}"]) == 0
    assert [command[0] for command in ran] == ["step", "loader", "train", "plan", "pictures"]
    assert all(command[0] in _BENCHMARKS for command in ran)
    assert f"--data={class_folder}" in ran[1]
    assert f"data.path={class_folder}" in ran[2]
    assert ran[4] == ["pictures", str(tmp_path / "out")]
    told = capsys.readouterr().out
    for name in ("step", "loader", "train"):
        assert f"verdict on the {name}: limited by {name}" in told


def test_a_step_of_a_gpu_goes_into_the_plan_and_that_of_a_cpu_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for has_gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        plan = suite.choose_parts("data", tmp_path)[3].arguments
        assert any(part.startswith("--step=") for part in plan) == has_gpu


def test_one_that_fails_ends_it_with_its_code(
    ran: Run,
    class_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = [suite.Part(["failing"], None), suite.Part(["step"], "step.json")]
    monkeypatch.setattr(suite, "choose_parts", lambda data, out: parts)
    assert main(["all", f"--data={class_folder}", f"--out={tmp_path}"]) == 7
    assert len(ran) == 1
    assert "bench failing: ended with 7; see above" in capsys.readouterr().out


def test_one_that_hangs_is_told(
    monkeypatch: pytest.MonkeyPatch, class_folder: Path, tmp_path: Path
) -> None:
    def hang(command: list[str], *, check: bool, timeout: float) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(MachineError, match="bench step: not done in 1800 s"):
        main(["all", f"--data={class_folder}", f"--out={tmp_path}"])


def test_pictures_that_are_not_there_are_told_before_anything_is_run(
    ran: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--data=/pictures: there is no such"):
        main(["all", "--data=/pictures", f"--out={tmp_path}"])
    assert not ran
