"""Runs as users have them: repeated, killed, stopped, resumed, and begun with mistakes."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from swiftsiam.model.method import Output
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.pipeline.order import choose_indices
from swiftsiam.train.config import read_config
from swiftsiam.train.device import resolve
from swiftsiam.train.job import build_job

from .conftest import TIMEOUT_S, Cli, assert_same_run, read_learning, refused, start, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    process = start(tiny(pictures, "run"), folder)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert f"done: {folder / 'run'}" in out
    return folder / "run"


def test_run_folder_holds_what_is_promised(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "checkpoints", "summary.json", "curves.png"} <= names
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["steps"] == 10
    assert f"engine: {summary['engine']}\n" in (finished / "config.yaml").read_text()
    assert 0 <= summary["knn"] <= 100
    assert summary["images_per_s"] > 0
    checkpoints = sorted(p.name for p in (finished / "checkpoints").iterdir())
    assert checkpoints == ["best.pt", "step000000005.pt", "step000000010.pt"]
    records = read_learning(finished)
    assert [r["step"] for r in records if r["type"] == "train"] == [2, 4, 5, 6, 8, 10]
    assert "auto" not in (finished / "config.yaml").read_text()


def test_same_seed_same_metrics_and_weights(
    finished: Path, pictures: Path, here: Cli, tmp_path: Path
) -> None:
    assert here(*tiny(pictures, "again", "data.num_workers=0")).returncode == 0
    assert_same_run(finished, tmp_path / "again")
    assert here(*tiny(pictures, "other", "train.seed=1")).returncode == 0
    assert read_learning(finished) != read_learning(tmp_path / "other")


def run_and_die(arguments: list[str], folder: Path, event: str) -> str:
    """Start, and be killed at the event; returns what was printed."""
    process = start(arguments, folder, dies_at=f"{event} SIGKILL")
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL, f"{event}: {process.returncode}\n{out}\n{err}"
    return out


@pytest.mark.slow
def test_killed_anywhere_and_resumed_is_the_same_run(
    finished: Path, pictures: Path, tmp_path: Path, here: Cli
) -> None:
    """SIGKILL in turn at ten places, start-up included; one command begins or resumes."""
    arguments = [a for a in tiny(pictures, "run") if not a.startswith("run.dir")]
    arguments += ["--resume", "run", "run.checkpoint_every_s=0"]
    for event in (
        "import:torch",
        "open:config.yaml",  # before there is a run folder
        "rename:config.yaml",
        "step:1",  # before the first checkpoint
        "half:.step000000001.pt",
        "rename:.step000000002.pt",  # step 1 is saved, 2 is written and has no name yet
        "step:3",
        "half:.metrics.jsonl",  # while the records of the lost steps are taken out
        "step:2",
        "open:summary.json",
    ):
        run_and_die(arguments, tmp_path, event)
    done = here(*arguments)
    assert done.returncode == 0, done.stderr
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"])
def test_signal_saves_and_resume_is_exact(
    name: str, finished: Path, pictures: Path, tmp_path: Path, here: Cli
) -> None:
    process = start(tiny(pictures, "stopped"), tmp_path, dies_at=f"step:4 {name}")
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 75, err
    assert f"swiftsiam pretrain --resume {tmp_path / 'stopped'}" in out
    resumed = here("pretrain", "--resume", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert "continues at step 4 of 10" in resumed.stdout
    assert_same_run(finished, tmp_path / "stopped")


def test_dry_run_reports_and_leaves_nothing(pictures: Path, tmp_path: Path, here: Cli) -> None:
    done = here(*tiny(pictures, "run"), "--dry-run")
    assert done.returncode == 0, done.stderr
    for word in ("images/s", "memory", "disk", "whole run"):
        assert word in done.stdout
    assert not list(tmp_path.iterdir())


def test_user_mistakes_end_in_one_line(pictures: Path, tmp_path: Path, here: Cli) -> None:
    (tmp_path / "empty").mkdir()
    arguments = tiny(pictures, "run")
    refused(here(*arguments, "data.path=empty"), f"data.path={tmp_path / 'empty'}", "no pictures")
    refused(here(*arguments, "data.path=nowhere"), "data.path=", "nowhere", "check the path")
    refused(here(*arguments, "data.val_path=nowhere"), "data.val_path=", "nowhere")
    refused(here(*arguments, "train.batch_size=64"), "train.batch_size=64", "20 or less")
    refused(here(*arguments, "train.epoch=1"), "did you mean train.epochs")
    refused(here("pretrain", "--resume", "nowhere"), "--resume", "nowhere")
    refused(here("pretrain"), "--config")
    refused(here("pretrain", "--start-over"), "--start-over", "--resume")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty"]


def test_existing_run_is_neither_overwritten_nor_changed(
    finished: Path, pictures: Path, here: Cli
) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    refused(here(*tiny(pictures, str(finished))), "run.dir=", "--resume")
    for override in ("train.seed=9", "train.epochs=9", "augment.size=24", "data.limit=17"):
        done = here("pretrain", "--resume", str(finished), override)
        refused(done, override, "may change", "optim.base_lr")
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


def test_corrupt_picture_is_named(pictures: Path, tmp_path: Path, here: Cli) -> None:
    import shutil

    shutil.copytree(pictures, tmp_path / "data")
    bad = tmp_path / "data" / "train" / "dark" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    arguments = tiny(tmp_path / "data", "run")
    refused(here(*arguments), "dark/3.png", "data.max_bad_samples")
    done = here(*arguments, "data.max_bad_samples=1", "run.dir=other")
    assert done.returncode == 0, done.stderr
    assert "bad sample dark/3.png" in done.stderr
    summary = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert summary["bad_samples"] == ["dark/3.png"]


def test_a_figure_that_a_method_adds_is_kept_shown_and_drawn(
    pictures: Path, tmp_path: Path, here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens one file, that of the method."""
    forward, inspect = SimSiam.forward, SimSiam.inspect

    def with_share(self: SimSiam, views: Any, labels: torch.Tensor) -> Output:
        output = forward(self, views, labels)
        share = (labels == 1).float().mean()  # labels reach the method
        return output._replace(figures=output.figures | {"light_share": share})

    drawn: list[str] = []

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        drawn.extend(panel.get_title() for panel in self.axes)
        save(self, *args, **options)

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", savefig)
    monkeypatch.setattr(SimSiam, "forward", with_share)
    monkeypatch.setattr(SimSiam, "inspect", lambda *a: inspect(*a) | {"slow": torch.tensor(7)})
    done = here(*tiny(pictures, "run", "train.log_every_s=0.001"))
    assert done.returncode == 0, done.stderr
    records = [r for r in read_learning(tmp_path / "run") if r["type"] == "train"]
    assert all(0 <= r["light_share"] <= 1 for r in records)
    # Slow ones come at the end of an epoch, of which there were two.
    assert [r["slow"] for r in records if "slow" in r] == [7, 7]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["slow"] == 7
    assert summary["light_share"] == records[-1]["light_share"]
    assert re.search(r"step 10/10 .* light_share [\d.]+ .* slow 7 ", done.stdout)
    assert re.search(r"^done: .* light_share [\d.]+ .* slow 7 ", done.stdout, re.M)
    titles = ["light_share", "slow", "effective rank of z (collapsed: 1)", "kNN, %"]
    assert set(titles) <= set(drawn)


def test_a_limit_is_a_fixed_choice_of_the_seed(pictures: Path) -> None:
    overrides = [f"data.path={pictures / 'train'}", "augment.size=16", "train.batch_size=8"]
    overrides += ["data.limit=17", "loader.engine=torchvision", "data.num_workers=0"]

    def chosen(*more: str) -> list[int]:
        job = build_job(resolve(read_config("cifar10-cpu", [*overrides, *more])).config)
        with job.loader:
            assert job.listing["count"] == 17
            assert job.rate.steps_per_epoch == 2
            return job.loader.indices.tolist()

    first = chosen()
    assert len(set(first)) == 17
    assert first == sorted(first) != list(range(17))
    assert chosen() == first
    assert chosen("train.seed=1") != first
    # A larger one holds the smaller: what was trained on stays.
    assert set(first) <= set(choose_indices(40, limit=30, seed=0).tolist())
