"""`bench loader`: it measures what it says, and the record holds what a figure needs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.contestants import CONTESTANTS, Task, installed
from swiftsiam.benchmarks.formats import FORMS, converted
from swiftsiam.benchmarks.loader import choose_contestants, choose_counts, find_best, judge_loader
from swiftsiam.benchmarks.racer import MARK
from swiftsiam.benchmarks.results import read_records
from swiftsiam.benchmarks.serving import serve
from swiftsiam.benchmarks.smaller import Smaller
from swiftsiam.benchmarks.verdict import PARTS
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.stages import STAGES

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "swiftsiam", "bench", "loader"]
FEW = ["--rounds=2", "--images=16", "--size=16", "--batch-size=4", "--workers=1"]


def test_every_engine_that_reads_pictures_takes_part() -> None:
    assert {name for name, info in ENGINES.items() if info.reads_pictures} <= set(CONTESTANTS)
    assert all(contestant.work for contestant in CONTESTANTS.values())


def test_a_record_holds_what_a_figure_needs(class_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "loader.json"
    asked = ["--engines=torchvision,decode-only", "--formats=webdataset", "--scaling"]
    done = subprocess.run(
        [*COMMAND, *FEW, f"--data={class_folder}", f"--json={out}", *asked],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    records = read_records(out, field="FILE")
    told = [(r["engine"], r["format"], r.get("name"), r["scope"]) for r in records]
    assert told[:4] == [
        ("torchvision", "as-is", None, "loader"),
        ("decode-only", "as-is", None, "loader"),
        ("torchvision", "as-is", "formats", "loader"),
        ("torchvision", "webdataset", "formats", "loader"),
    ]
    assert [r["num_workers"] for r in records if r.get("name") == "scaling"] == choose_counts(
        records[0]["machine"]["cores"]
    )
    assert told[-1] == ("torchvision", "as-is", None, "verdict")
    assert records[-1]["limit"] in PARTS
    for record in records[:-1]:
        assert (record["batch_size"], record["size"]) == (4, 16)
        assert record["batch_ms"]["p50"] <= record["batch_ms"]["p99"]
        assert record["batch_ms"]["n"] == 2 * 4
        assert 0 <= record["first_batch_s"] <= record["start_s"]
        assert record["peak_memory_mb"] >= record["memory_mb"]["median"] > 1
        for name in ("images_per_s", "core_ms_per_image", "memory_mb"):
            assert record[name]["n"] == 2
            assert record[name]["median"] >= 0  # the system counts a core's time in 10 ms
        assert record["images_per_s"]["median"] > 0
        assert record["work"] == CONTESTANTS[record["engine"]].work
        assert record["machine"]["versions"]["torch"]
    assert set(records[0]["stages_ms_per_image"]) == {*STAGES, "rest"}
    assert "stages_ms_per_image" not in records[1]
    assert "verdict: limited by" in done.stdout


@pytest.mark.engine("ffcv", formats=("beton",))
def test_a_beton_goes_to_the_engine_that_reads_it(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from swiftsiam.benchmarks import loader

    asked = []

    def measure(entries, args):
        asked.extend(entries)
        return []

    monkeypatch.setattr(loader, "measure", measure)
    monkeypatch.setattr(loader, "show", lambda records: None)
    beton = tmp_path / "x.beton"
    arguments = [f"--data={class_folder}", f"--beton={beton}", f"--json={tmp_path / 'x.json'}"]
    assert main(["loader", *arguments, "--engines=ffcv,torchvision"]) == 0
    given = {entry.engine: (entry.task.data, entry.form) for entry in asked}
    assert given["ffcv"] == (str(beton), "beton")
    assert given["torchvision"] == (str(class_folder), "as-is")


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    out = f"--json={tmp_path / 'x.json'}"
    with pytest.raises(UserError, match=r"--engines=fastest: not one of torchvision, ffcv, dali"):
        main(["loader", "--engines=fastest", out])
    with pytest.raises(UserError, match=r"--formats=zip: not one of as-is, webdataset"):
        main(["loader", "--formats=zip", out])
    with pytest.raises(UserError, match="bench speed: name a benchmark: loader"):
        main(["speed"])


def test_a_contestant_that_fails_is_told_and_the_others_are_measured(
    class_folder: Path, tmp_path: Path
) -> None:
    """A set whose pictures are no pictures stops our engines, and not what only reads JPEGs."""
    spoilt = tmp_path / "spoilt" / "a"
    spoilt.mkdir(parents=True)
    for number in range(9):
        (spoilt / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing behind it")
    for path in class_folder.rglob("*.jpg"):
        (spoilt / path.name).write_bytes(path.read_bytes())
    out = tmp_path / "x.json"
    arguments = [f"--data={spoilt.parent}", f"--json={out}", "--engines=torchvision,decode-only"]
    done = subprocess.run([*COMMAND, *FEW, *arguments], capture_output=True, text=True, timeout=500)
    assert done.returncode == 1
    failed, through = read_records(out, field="FILE")
    assert "ended with" in failed["failure"]
    assert through["images_per_s"]["median"] > 0
    assert "none of our engines came through" in done.stdout


def test_serving_counts_images_not_views(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", ["10\n", "0\n"])
    task = Task(data=str(class_folder), size=16, batch_size=4, num_workers=1)
    assert serve("decode-only", task) == 0
    lines = capsys.readouterr().out.splitlines()
    ready, told, last = (json.loads(line.removeprefix(MARK)) for line in lines)
    assert ready["first_batch_s"] > 0
    # Four batches that lay ready, then as many as hold ten images.
    assert told["images"] == 4 * 4 + 3 * 4
    assert len(told["gaps_ms"]) == 3
    assert set(last) == {"stages_s"}


def test_the_cheapest_of_our_engines_is_judged() -> None:
    def record(engine: str, core_ms: float) -> dict:
        return {"engine": engine, "core_ms_per_image": {"median": core_ms}}

    ours = [name for name, info in ENGINES.items() if info.reads_pictures][:2]
    records = [record("decode-only", 1.0), record(ours[0], 3.0), record(ours[1], 2.0)]
    assert find_best(records) == records[2]
    assert find_best([records[1], records[2] | {"failure": "died"}]) == records[1]
    assert find_best(records[:1]) is None
    stages = {"read": 0.1, "decode": 1.5, "crop": 0.2, "colour": 0.2, "copy": 0.0, "rest": 0.0}
    best = records[2] | {
        "num_workers": 2,
        "images_per_s": {"median": 1000.0},
        "stages_ms_per_image": stages,
    }
    verdict = judge_loader(best, data="photos", smaller=Smaller(decode=0.2, crop=0.5))
    assert verdict.limit == "decode"
    assert verdict.cores_to_feed == 0
    assert "--max-side 256" in verdict.lines[-1] + verdict.lines[-2]


def test_numbers_of_workers_go_up_to_all_cores() -> None:
    assert choose_counts(1) == [1]
    assert choose_counts(2) == [1, 2]
    assert choose_counts(6) == [1, 2, 4, 6]
    assert choose_counts(16) == [1, 2, 4, 8, 16]


def test_each_form_holds_the_same_pictures_and_is_removed(class_folder: Path) -> None:
    count = len(open_source(class_folder))
    with converted(str(class_folder), list(FORMS)) as paths:
        assert list(paths) == list(FORMS)
        assert paths["as-is"] == str(class_folder)
        assert {len(open_source(path)) for path in paths.values()} == {count}
    assert [name for name, path in paths.items() if Path(path).exists()] == ["as-is"]


def test_too_many_pictures_are_not_converted(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swiftsiam.benchmarks import formats, loader

    monkeypatch.setattr(formats, "MOST", 5)
    monkeypatch.setattr(loader, "MOST", 5)
    chosen = choose_contestants(None, str(class_folder))
    assert chosen
    assert all(CONTESTANTS[name].reads is None for name in chosen)
    reading = next(name for name in installed() if CONTESTANTS[name].reads)
    with pytest.raises(UserError, match=f"--engines={reading}: 23 pictures would be converted"):
        choose_contestants(reading, str(class_folder))
    with converted(str(class_folder), ["as-is"]) as paths:
        assert len(paths) == 1
    with (
        pytest.raises(UserError, match="23 pictures would be converted for it"),
        converted(str(class_folder), ["beton"]),
    ):
        pass
