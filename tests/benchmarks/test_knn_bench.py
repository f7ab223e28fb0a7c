"""`bench knn`: each round in a process of its own, and a whole record."""

from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.results import read_records


@pytest.mark.slow
def test_a_record_holds_what_a_figure_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "knn.json"
    sizes = ["--bank=1500", "--queries=40", "--dims=8", "--k=5", "--threads=1", "--rounds=2"]
    assert main(["knn", *sizes, f"--json={path}"]) == 0
    (record,) = read_records(path, field="FILE")
    counts = ("num_bank", "num_queries", "num_dims", "k", "num_threads")
    assert [record[name] for name in counts] == [1500, 40, 8, 5, 1]
    for name in ("seconds", "core_s", "peak_memory_mb", "gflop_per_core_s"):
        assert record[name]["n"] == 2, name
    assert record["features_mb"]["median"] == pytest.approx(4 * 8 * 1540 / 1e6, abs=1e-3)
    assert record["peak_memory_mb"]["median"] >= record["imports_mb"]["median"] > 0
    assert record["surroundings"] is None or record["surroundings"]["others_percent"] >= 0
    told = capsys.readouterr().out
    assert "the 5 nearest of 1,500 features for 40 queries, 8 dimensions" in told
    assert f"written: {path}" in told
