"""`swiftsiam report`, as users call it."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from swiftsiam.train.checkpoint import list_checkpoints
from swiftsiam.train.reporting import neighbours as searching

from ..conftest import Cli, refused
from .conftest import Change, read_records, table_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("single_thread")]


def test_two_runs_side_by_side(copy: Change, here: Cli, tmp_path: Path) -> None:
    first = copy("a/run")
    second = copy("b/run", {"base_lr: 0.24": "base_lr: 0.12", "min_scale: 0.2": "min_scale: 0.5"})
    records = [r | ({"loss": -0.5} if "loss" in r else {}) for r in read_records(second)]
    (second / "metrics.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    done = here("report", str(first), str(second))
    assert done.returncode == 0, done.stderr
    table = table_of(first, second)
    loss = [r["loss"] for r in read_records(first) if "loss" in r][-1]
    assert table["loss"] == [f"{loss:.4g}", "-0.5"]
    assert table["optim.base_lr"] == ["0.24", "0.12"]
    assert table["augment.min_scale"] == ["0.2", "0.5"]  # told since it differs
    assert "augment.flip_prob" not in table
    written = (tmp_path / "report" / "report.md").read_text()
    assert "|  | a/run | b/run |" in written
    assert f"| loss | {loss:.4g} | -0.5 |" in written
    for words in ("a/run", "b/run", f"{loss:.4g}", "augment.min_scale", "report.png", "report.md"):
        assert words in done.stdout
    assert written.count("nearest pictures are of their query's class") == 2
    assert "![curves and nearest neighbours](report.png)" in written
    with Image.open(tmp_path / "report" / "report.png") as image:
        assert image.format == "PNG"


def test_two_reports_agree_and_change_nothing(copy: Change, here: Cli, tmp_path: Path) -> None:
    run = copy("run")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for out in ("one", "two"):
        assert here("report", str(run), "--out", out).returncode == 0
    for name in ("report.png", "report.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_of_one_run_the_report_lies_in_it(copy: Change, here: Cli) -> None:
    run = copy("run")
    assert here("report", str(run)).returncode == 0
    assert {p.name for p in (run / "report").iterdir()} == {"report.png", "report.md"}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("val_path: {pictures}/val", "val_path: null", "data.val_path=null"),
        ("{pictures}/val", "/nowhere", "data.val_path=/nowhere"),
        ("{pictures}/train", "/nowhere", "data.path=/nowhere"),
    ],
)
def test_without_the_pictures(
    copy: Change, here: Cli, pictures: Path, old: str, new: str, reason: str
) -> None:
    run = copy("run", {old.format(pictures=pictures): new})
    done = here("report", str(run))
    assert done.returncode == 0, done.stderr
    written = (run / "report" / "report.md").read_text()
    assert f"- run: left out: {reason}" in written
    assert f"run: no neighbours: {reason}" in done.stdout
    assert f"| kNN, % | {read_records(run)[-1]['knn']:.2f} |" in written


def test_no_neighbours_runs_no_network(
    copy: Change, here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "load_trained", lambda path: pytest.fail("was loaded"))
    run = copy("run")
    done = here("report", str(run), "--no-neighbours")
    assert done.returncode == 0, done.stderr
    assert "--no-neighbours" in (run / "report" / "report.md").read_text()


def test_a_run_that_was_killed(copy: Change, here: Cli) -> None:
    """In the second epoch, while it wrote a line; its newest checkpoint is damaged."""
    run = copy("run")
    for name in ("summary.json", "exit_code", "curves.png"):
        (run / name).unlink()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= 6]
    (run / "metrics.jsonl").write_bytes(b"".join(kept) + lines[-1][:20])
    older, newest = list_checkpoints(run / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:1000])
    done = here("report", str(run))
    assert done.returncode == 0, done.stderr
    table = table_of(run)
    assert table["state"] == ["going on, or killed"]
    assert table["epochs"] == ["1.2 of 2"]
    knn = next(r["knn"] for r in map(json.loads, kept) if r["type"] == "knn" and r["step"])
    assert table["kNN, %"] == [f"{knn:.2f} (epoch 1)"]
    assert f"at step {int(older.stem[4:])}," in (run / "report" / "report.md").read_text()
    assert newest.exists()  # what becomes of it is the trainer's to say


def test_no_metrics_yet(made: Path, copy: Change, here: Cli, tmp_path: Path) -> None:
    begun = copy("begun")
    for path in begun.iterdir():
        if path.name != "config.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = here("report", str(begun), str(made), "--out=out")
    assert done.returncode == 0, done.stderr
    assert "begun: no metrics yet" in done.stdout
    assert "begun: no neighbours: no checkpoint yet" in done.stdout
    table = table_of(begun, made)
    assert table["loss"][0] == "–"
    assert table["epochs"] == ["0 of 2", "2 of 2"]
    assert "begun has no metrics yet" in (tmp_path / "out" / "report.md").read_text()
    alone = here("report", str(begun), "--out=alone", "--no-neighbours")
    assert alone.returncode == 0, alone.stderr


def test_what_is_refused(made: Path, here: Cli, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    refused(here("report", "plain"), "RUN", "plain", "not a run folder")
    refused(here("report", "nowhere"), "RUN", "nowhere", "not a run folder")
    (tmp_path / "link").symlink_to(made)
    refused(here("report", str(made), "link"), "RUN=", "given twice", "once")
    (tmp_path / "file").touch()
    refused(here("report", str(made), "--out=file"), "--out=", "choose another")
    refused(here("report", str(made), "--out=file/deeper"), "--out=", "choose another")
    (tmp_path / "taken" / "report.md").mkdir(parents=True)
    refused(here("report", str(made), "--out=taken"), "--out=", "report.md", "is a folder")
    refused(here("report", str(made), "--queries=0"), "0: must be 1 to 100")
    refused(here("report"), "RUN", "--help")


def test_help_explains_each_option(here: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        here("report", "--help")
    told = capsys.readouterr().out
    for option in ("--out", "--over", "--no-neighbours", "--queries", "--nearest", "--bank"):
        _, _, rest = told.split("options:")[1].partition(option)
        assert len(rest.split("  --")[0].split()) > 3
