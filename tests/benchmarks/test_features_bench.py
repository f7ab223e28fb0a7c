"""`bench features`: the forward pass and the cache in turns, and the sweep."""

from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.results import read_records
from swiftsiam.pipeline.errors import UserError


@pytest.mark.slow
def test_records_hold_what_figures_need(
    class_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "features.json"
    network = [f"--data={class_folder}", "--backbone=cifar_resnet18_w16", "--size=32"]
    sizes = ["--images=20", "--batch-size=5", "--rounds=2"]
    swept = ["--count=300", "--dims=8", "--classes=3", "--epochs=2", "--sweeps=2"]
    assert main(["features", *network, *sizes, *swept, f"--json={path}"]) == 0
    forward, features, sweep = read_records(path, field="FILE")
    assert [r["lane"] for r in (forward, features, sweep)] == ["forward", "features", "sweep"]
    for record in (forward, features):
        assert record["images_per_s"]["n"] == 2
        assert record["backbone"] == "cifar_resnet18_w16"
    assert features["percent_of_forward"]["n"] == 2
    assert sweep["num_count"] == 300
    assert sweep["seconds"]["n"] == 2
    assert "of the forward pass's rate" in capsys.readouterr().out
    with pytest.raises(UserError, match="--images=9999"):
        main(["features", f"--data={class_folder}", "--images=9999"])
    with pytest.raises(UserError, match="two batches"):
        main(["features", f"--data={class_folder}", "--images=8", "--batch-size=5"])
