"""Runs that are continued: with other pictures, other settings, damaged files, from elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from swiftsiam.train.checkpoint import list_checkpoints, load_newest

from .conftest import Cli, read_learning, refused, tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that may be changed."""
    return Path(shutil.copytree(pictures, tmp_path / "data"))


def begin(here: Cli, data: Path, *overrides: str) -> Path:
    """A run of 2 epochs of 5 steps, stopped by its own signal after step 7; returns its folder."""
    done = here(*tiny(data, "run", "train.log_every=1", "data.val_path=null", *overrides))
    assert done.returncode == 75, done.stderr
    run = data.parent / "run"
    assert list_checkpoints(run / "checkpoints")[-1].name == "step000000007.pt"
    return run


def trained(run: Path) -> list[dict[str, Any]]:
    return [r for r in read_learning(run) if r["type"] == "train"]


@pytest.mark.usefixtures("stops_at_7")
def test_a_picture_removed_is_refused_and_may_be_done_without(data: Path, here: Cli) -> None:
    run = begin(here, data)
    rates = {r["step"]: r["lr"] for r in trained(run)}
    for name in ("0.png", "1.png", "2.png"):
        (data / "train" / "dark" / name).unlink()
    refused(here("pretrain", "--resume", str(run)), "40 pictures then, 37 now", "data.on_change")
    assert [r["step"] for r in trained(run)] == [1, 2, 3, 4, 5, 6, 7]  # nothing was touched
    done = here("pretrain", "--resume", str(run), "data.on_change=continue")
    assert done.returncode == 0, done.stderr
    # 2 of 5 steps of the second epoch were done: of 4 steps an epoch that is 1, and 3 are left.
    assert "continues at step 7 of 10" in done.stdout
    assert "40 pictures then, 37 now" in done.stdout
    records = trained(run)
    assert [r["step"] for r in records] == list(range(1, 11))
    assert [r["epoch_progress"] for r in records][6:] == [1.4, 1.5, 1.75, 2.0]
    # The schedule goes on by the epoch's share: never up, and to its planned end.
    assert all(records[step - 1]["lr"] == lr for step, lr in rates.items())
    falling = [r["lr"] for r in records]
    assert falling == sorted(falling, reverse=True)
    cosine = (1 + torch.cos(torch.tensor(torch.pi * 7 / 8))) / 2
    assert falling[-1] == pytest.approx(falling[0] * float(cosine))
    assert any(r["type"] == "change" for r in read_learning(run))
    assert json.loads((run / "summary.json").read_text())["epochs"] == 2
    assert "on_change: refuse" in (run / "config.yaml").read_text()  # it was for this once


@pytest.mark.usefixtures("stops_at_7")
def test_pictures_added_or_renamed_are_noticed(data: Path, here: Cli) -> None:
    run = begin(here, data)
    extra = data / "train" / "light" / "extra.png"
    shutil.copy(data / "train" / "light" / "0.png", extra)
    refused(here("pretrain", "--resume", str(run)), "40 pictures then, 41 now")
    extra.unlink()
    (data / "train" / "light").rename(data / "train" / "bright")
    refused(here("pretrain", "--resume", str(run)), "other names or labels")
    (data / "train" / "bright").rename(data / "train" / "light")
    assert here("pretrain", "--resume", str(run)).returncode == 0


@pytest.mark.usefixtures("stops_at_7")
def test_moved_data_and_what_else_resume_was_given_are_remembered(
    data: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(here, data)
    (data / "train").rename(data / "moved")
    refused(here("pretrain", "--resume", str(run)), "data.path=", "there is no such")
    given = ["data.path=data/moved", "optim.base_lr=0.02", "run.keep_checkpoints=5"]
    # Killed before anything is learnt: what it was given stands all the same.
    with monkeypatch.context() as patched:
        patched.setattr("swiftsiam.train.opening.OpenedRun", _interrupt)
        assert here("pretrain", "--resume", str(run), *given).returncode == 130
    done = here("pretrain", "--resume", str(run))
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"]["path"] == str(tmp_path / "data" / "moved")
    assert (config["optim"]["base_lr"], config["run"]["keep_checkpoints"]) == (0.02, 5)


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("stops_at_7")
def test_a_changed_rate_is_told_kept_and_used(data: Path, here: Cli) -> None:
    run = begin(here, data)
    before = trained(run)[-1]["lr"]
    done = here("pretrain", "--resume", str(run), "optim.base_lr=0.0001")
    assert done.returncode == 0, done.stderr
    assert "optim.base_lr: 0.24 -> 0.0001" in done.stdout
    changes = [r for r in read_learning(run) if r["type"] == "change"]
    assert [(r["step"], r["text"]) for r in changes] == [(7, "optim.base_lr: 0.24 -> 0.0001")]
    assert trained(run)[-1]["lr"] < before / 1000


@pytest.mark.usefixtures("stops_at_7")
def test_another_config_beside_resume_is_told(data: Path, here: Cli, tmp_path: Path) -> None:
    run = begin(here, data)
    (tmp_path / "other.yaml").write_text("optim: {momentum: 0.5}\ntrain: {batch_size: 8}")
    done = here("pretrain", "--config", "other.yaml", "--resume", str(run))
    assert done.returncode == 0, done.stderr
    assert "optim.momentum (0.9 in the run, 0.5 in other.yaml)" in done.stdout
    assert "train.batch_size" not in done.stdout


@pytest.mark.usefixtures("stops_at_7")
def test_when_all_checkpoints_are_damaged_nothing_is_lost(data: Path, here: Cli) -> None:
    run = begin(here, data)
    checkpoints = list_checkpoints(run / "checkpoints")
    for number, path in enumerate(checkpoints):
        content = path.read_bytes()
        path.write_bytes(b"" if number else content[: len(content) // 2])
    records = (run / "metrics.jsonl").read_bytes()
    for _ in range(2):  # it does not forget that there were some
        done = here("pretrain", "--resume", str(run))
        assert done.returncode == 2
        assert "all damaged" in done.stderr
        assert "--start-over" in done.stderr
        assert (run / "metrics.jsonl").read_bytes() == records
    aside = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert aside == [f"{path.name}.damaged" for path in checkpoints]
    done = here("pretrain", "--resume", str(run), "--start-over")
    assert done.returncode == 0, done.stderr
    assert [r["step"] for r in trained(run)] == list(range(1, 11))
    assert (run / "metrics.before-1.jsonl").read_bytes() == records
    assert len(list((run / "checkpoints.before-1").iterdir())) == len(checkpoints)
    assert len(list_checkpoints(run / "checkpoints")) == 2


@pytest.mark.usefixtures("stops_at_7")
def test_a_damaged_newest_one_is_set_aside_and_the_one_before_used(data: Path, here: Cli) -> None:
    run = begin(here, data, "run.checkpoint_every_s=0")
    newest = list_checkpoints(run / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    done = here("pretrain", "--resume", str(run))
    assert done.returncode == 0, done.stderr
    assert "continues at step 6 of 10" in done.stdout
    assert [r["step"] for r in trained(run)] == list(range(1, 11))


@pytest.mark.usefixtures("stops_at_7")
def test_damaged_records_and_configurations(data: Path, here: Cli) -> None:
    run = begin(here, data)
    whole = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(b"\0\0\xff\n[1]\n{}\n" + whole + b'{"type": "train", "st')
    (run / "summary.json").write_bytes(b"")
    config = (run / "config.yaml").read_bytes()
    for content, word in ((b"", "empty"), (b"\xff\xfe\0", "UTF-16"), (b"train: [", "not YAML")):
        (run / "config.yaml").write_bytes(content)
        refused(here("pretrain", "--resume", str(run)), "config.yaml", word)
    (run / "config.yaml").write_bytes(config)
    assert here("pretrain", "--resume", str(run)).returncode == 0
    assert [r["step"] for r in trained(run)] == list(range(1, 11))
    assert json.loads((run / "summary.json").read_text())["steps"] == 10


@pytest.mark.usefixtures("stops_at_7")
def test_a_run_made_with_relative_paths_goes_on_from_anywhere(
    data: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(here, data, "data.path=data/train")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("os.getcwd", lambda: str(tmp_path / "elsewhere"))
    assert here("pretrain", "--resume", str(run)).returncode == 0


def test_a_divergence_keeps_what_is_good_and_its_advice_works(data: Path, here: Cli) -> None:
    arguments = tiny(data, "run", "data.val_path=null", "optim.base_lr=1e30")
    done = here(*arguments, "run.checkpoint_every_s=0", "train.log_every=5")
    refused(done, "optim.base_lr=1e+30", "not finite at step 2", "--resume")
    run = data.parent / "run"
    assert [p.name for p in list_checkpoints(run / "checkpoints")] == ["step000000001.pt"]
    # That checkpoint leads there again, and the advice says so.
    done = here("pretrain", "--resume", str(run))
    refused(done, "not finite at step 2", "--start-over")
    advice = done.stderr.partition("by swiftsiam ")[2].partition(";")[0].split()
    advice = [a.replace("base_lr=2.5e+29", "base_lr=0.01") for a in advice]
    assert "optim.base_lr=0.01" in advice
    done = here(*advice)
    assert done.returncode == 0, done.stderr
    state = load_newest(run / "checkpoints", tell=pytest.fail)
    assert state is not None
    assert all(torch.isfinite(t).all() for t in state["model"].values())
