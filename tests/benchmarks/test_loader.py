"""`bench loader`: it measures what it says, and the record holds what a figure needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.contestants import CONTESTANTS
from swiftsiam.benchmarks.loader import serve
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.errors import UserError

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "swiftsiam", "bench", "loader"]
FEW = ["--rounds=2", "--images=16", "--engines=torchvision,decode-only"]
SMALL = ["--size=16", "--batch-size=4", "--workers=1"]


def test_every_engine_that_reads_pictures_takes_part() -> None:
    assert {name for name, info in ENGINES.items() if info.reads_pictures} <= set(CONTESTANTS)
    assert all(contestant.work for contestant in CONTESTANTS.values())


def test_a_record_holds_what_a_figure_needs(class_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "loader.json"
    done = subprocess.run(
        [*COMMAND, *SMALL, f"--data={class_folder}", f"--json={out}", *FEW],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    records = json.loads(out.read_text())
    assert [record["engine"] for record in records] == ["torchvision", "decode-only"]
    for record in records:
        assert record["scope"] == "loader"
        assert (record["batch_size"], record["num_workers"], record["size"]) == (4, 1, 16)
        for name in ("images_per_s", "core_ms_per_image", "memory_mb"):
            assert record[name]["n"] == 2
            assert record[name]["median"] >= 0  # the system counts a core's time in 10 ms
        assert record["images_per_s"]["median"] > 0
        assert record["work"] == CONTESTANTS[record["engine"]].work
        assert record["machine"]["cores"] >= 1
        assert record["machine"]["versions"]["torch"]
    assert "loader scope: images to two views" in done.stdout


@pytest.mark.engine("ffcv", formats=("beton",))
def test_a_beton_goes_to_the_engine_that_reads_it(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from swiftsiam.benchmarks import loader

    asked = {}

    def measure(names, tasks, *, rounds, images):
        asked.update(tasks)
        return []

    monkeypatch.setattr(loader, "measure", measure)
    monkeypatch.setattr(loader, "_print", lambda records: None)
    beton = tmp_path / "x.beton"
    arguments = [f"--data={class_folder}", f"--beton={beton}", f"--json={tmp_path / 'x.json'}"]
    assert main(["loader", *arguments, "--engines=ffcv,torchvision"]) == 0
    assert asked["ffcv"].data == str(beton)
    assert asked["torchvision"].data == str(class_folder)


def test_an_unknown_contestant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--engines=fastest: not one of torchvision, ffcv, dali"):
        main(["loader", "--engines=fastest", f"--json={tmp_path / 'x.json'}"])


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(UserError, match="bench speed: name a benchmark: loader"):
        main(["speed"])


def test_serving_counts_images_not_views(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swiftsiam.benchmarks.contestants import Task

    monkeypatch.setattr(sys, "stdin", ["10\n"])
    task = Task(data=str(class_folder), size=16, batch_size=4, num_workers=1)
    assert serve("decode-only", task) == 0
    _, answer = capsys.readouterr().out.splitlines()
    # Four batches that lay ready, then as many as hold ten images.
    assert json.loads(answer)["images"] == 4 * 4 + 3 * 4
