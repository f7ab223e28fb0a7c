"""`bench train`: its parts are measured, and the record holds what the verdict says."""

from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.results import read_records
from swiftsiam.benchmarks.verdict import PARTS
from swiftsiam.pipeline.errors import UserError

pytestmark = pytest.mark.slow

SMALL = [
    "augment.size=16",
    "train.batch_size=4",
    "train.precision=fp32",
    "train.device=cpu",
    "model.projector_hidden=16",
    "model.projection_dim=16",
    "data.num_workers=1",
    "loader.engine=torchvision",
]


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_a_job_is_measured_in_parts_and_judged(
    class_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cold: bool
) -> None:
    path = tmp_path / "train.json"
    told = [f"data.path={class_folder}", *SMALL, "--rounds=1", "--seconds=1", f"--json={path}"]
    assert main(["train", *told, *(["--cold"] if cold else [])]) == 0
    records = {record.get("lane", "verdict"): record for record in read_records(path, field="F")}
    files = "cold" if cold else "files"
    assert set(records) == {"step", "cached", files, "end-to-end", "verdict"}
    for name, record in records.items():
        assert record["name"] == "cifar_resnet18_w16"
        assert record["format"] == "folder"
        assert name == "verdict" or record["images_per_s"]["n"] == 1
    assert [records[name]["scope"] for name in ("step", files, "end-to-end")] == [
        "step",
        "loader",
        "end-to-end",
    ]
    assert records["end-to-end"]["step_with_loader_over_cached"]["median"] > 0
    assert sum(records[files]["stages_ms_per_image"].values()) > 0
    verdict = records["verdict"]
    assert verdict["limit"] in PARTS
    assert verdict["bounds_images_per_s"]["step"] == pytest.approx(
        records["step"]["images_per_s"]["median"], abs=0.1
    )
    printed = capsys.readouterr().out
    assert all(f"verdict: {line}" in printed for line in verdict["lines"])


def test_what_stays_in_memory_cannot_be_read_cold(tmp_path: Path, class_folder: Path) -> None:
    import tarfile

    archive = tmp_path / "pictures.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(class_folder, arcname="pictures")
    with pytest.raises(UserError, match=r"--cold: data.path=.*pictures.tar is kept as tar, whose"):
        main(["train", f"data.path={archive}", *SMALL, "--cold", f"--json={tmp_path / 'x.json'}"])
