"""`swiftsiam bench convert`: each contestant in a process of its own, and whole records."""

import json
from pathlib import Path

import pytest
from swiftsiam.benchmarks.convert import main


@pytest.mark.slow
def test_a_record_holds_what_a_figure_needs(class_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "convert.json"
    options = ["--contestants=tfrecord,disk", "--rounds=2", "--workers=1", f"--json={path}"]
    assert main([f"--data={class_folder}", f"--dst={tmp_path}", *options]) == 0
    records = json.loads(path.read_text())
    assert [record["engine"] for record in records] == ["tfrecord", "disk"]
    sizes = [file.stat().st_size for file in class_folder.rglob("*.jpg")]
    frames = {"tfrecord": 200 * len(sizes), "disk": 0}  # bytes at most
    for record in records:
        assert record["images_per_s"]["n"] == 2
        assert record["images_per_s"]["median"] > 0
        beside = record["mb"]["median"] * 1e6 - sum(sizes)
        assert -1000 < beside <= frames[record["engine"]] + 1000  # told to a thousandth of a MB
        assert record["machine"]["cores"] > 0
    assert list(tmp_path.iterdir()) == [path]
