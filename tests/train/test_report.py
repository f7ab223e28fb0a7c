"""What a run tells, to each of its sinks; and that nothing in training prints beside it."""

import ast
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.train.config import Config, RunConfig
from swiftsiam.train.report import MetricsFile, Report
from swiftsiam.train.run import RunFolder
from swiftsiam.train.terminal import Terminal
from swiftsiam.train.trackers import add_trackers, check_trackers

ROOT = Path(__file__).parents[2]
COMMANDS = ("demo.py", "preview.py", "command.py")
"""What is no part of training, and prints its own results."""
FIGURES = {
    "epoch": 1,
    "epoch_progress": 1.5,
    "loss": -0.81234,
    "sharpness": 12.5,  # which nobody has heard of
    "lr": 0.03,
    "images_per_s": 1234.5,
    "data_wait_percent": 3.21,
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_nothing_in_training_prints_but_the_report() -> None:
    for path in (ROOT / "train").rglob("*.py"):
        if path.name.endswith(COMMANDS) or path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "print"), path.name


def test_a_figure_nobody_knows_is_kept_and_shown(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(Terminal(), MetricsFile(run))
    report.begin(step=0, steps=4, epochs=2, every_s=1000)
    report.log("train", 4, **FIGURES)  # the last step is told whatever the time
    report.note("that is all")
    report.close()
    assert run.read_metrics() == [{"type": "train", "step": 4, **FIGURES}]
    assert list(json.loads(run.metrics_path.read_text())) == ["type", "step", *FIGURES]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "epoch 2/2  step 4/4  loss -0.8123  sharpness 12.5  lr 0.03  1,234 images/s  data-wait 3 %"
    )
    assert second == "that is all"


def test_lines_come_so_often_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(Terminal())
    report.begin(step=0, steps=9, epochs=2, every_s=1e6)
    report.log("train", 3, **FIGURES)
    assert capsys.readouterr().out == ""
    report.begin(step=0, steps=9, epochs=2, every_s=0)
    report.log("train", 3, **FIGURES)
    report.log("knn", 3, knn=50.0)  # which are noted in words
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_terminal_has_a_bar_with_the_figures_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    report = Report(Terminal())
    report.begin(step=0, steps=9, epochs=2, every_s=10)
    report.tick(3)
    report.log("train", 3, **FIGURES)
    report.note("a line that stays")
    report.end()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert "a line that stays" in shown
    assert "epoch 2/2" in shown
    assert "3/9" in shown
    assert "loss -0.8123  sharpness 12.5" in shown


def test_without_sinks_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """On the ranks that stay silent."""
    report = Report()
    report.begin(step=0, steps=9, epochs=2, every_s=0)
    report.log("train", 3, **FIGURES)
    report.note("unheard")
    assert capsys.readouterr() == ("", "")


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_has_all_numbers_and_forgets_what_is_trained_again(run: RunFolder) -> None:
    config = Config(run=RunConfig(tensorboard=True))
    for begun_at, steps in ((0, (2, 4, 6)), (4, (6, 8))):
        report = Report()
        add_trackers(report, config, run, step=begun_at)
        for step in steps:
            report.log("train", step, loss=float(step + begun_at), network="words are left out")
        report.close()
    events = read_events(run.path / "tensorboard")
    assert events == {"train/loss": [(2, 2.0), (4, 4.0), (6, 10.0), (8, 12.0)]}


@pytest.mark.parametrize("key", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("swiftsiam.train.trackers.find_spec", lambda name: None)
    check_trackers(RunConfig())
    asked: Any = {"tensorboard": True, "wandb": "project"}[key]
    with pytest.raises(UserError, match=f"run.{key}={asked}: {key} is not installed; pip install"):
        check_trackers(RunConfig(**{key: asked}))


def test_wandb_goes_on_with_the_same_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, told = [], []

    class Started:
        def log(self, numbers: dict[str, float], step: int) -> None:
            told.append((step, numbers))

        def finish(self) -> None:
            told.append("finished")

    def init(**settings: Any) -> Started:
        begun.append(settings)
        return Started()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))  # type: ignore
    config = Config(run=RunConfig(wandb="siam"))
    for _ in range(2):
        report = Report()
        add_trackers(report, config, run, step=0)
        report.log("knn", 7, knn=50.0, network="left out")
        report.close()
    assert told == [(7, {"knn/knn": 50.0}), "finished"] * 2
    first, second = begun
    assert first["id"] == second["id"]
    assert (first["project"], first["resume"], first["name"]) == ("siam", "allow", run.path.name)
    assert first["config"]["train"]["epochs"] == 100
