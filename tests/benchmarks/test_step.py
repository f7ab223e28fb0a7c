"""`bench step`: each lane has its record, and the ratios are those of the rounds."""

from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.results import read_records
from swiftsiam.benchmarks.step import Round, Setting, build_contestants, build_records, measure
from swiftsiam.model.method import ModelConfig
from swiftsiam.pipeline.errors import UserError

MODEL = ModelConfig(
    backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=16, projection_dim=16
)
SETTING = Setting(MODEL, 4, 16, "cpu", "bf16", rounds=2, steps=1)


def test_every_contestant_is_measured_in_every_round() -> None:
    contestants = build_contestants(SETTING, ["channels_last", "precision", "fused"])
    plain = ["plain fp32", "plain bf16", "plain bf16 NHWC"]
    names = [*plain, "none", "+ channels_last", "+ precision", "+ fused"]
    assert [contestant.name for contestant in contestants] == names
    rounds = measure(SETTING, contestants)
    assert {name: len(of) for name, of in rounds.items()} == dict.fromkeys(names, 2)


def test_gains_are_those_of_the_rounds() -> None:
    contestants = build_contestants(SETTING, ["channels_last"])
    rates = {"plain fp32": 10.0, "plain bf16": 20.0, "plain bf16 NHWC": 30.0}
    rates |= {"none": 40.0, "+ channels_last": 60.0}
    rounds = {name: [Round(rate, 1.0), Round(2 * rate, 1.0)] for name, rate in rates.items()}
    records = {r["lane"]: r for r in build_records(SETTING, contestants, rounds)}
    assert records["+ channels_last"]["gain"]["median"] == 1.5
    assert records["+ channels_last"]["over_plain_fp32"]["median"] == 6.0
    assert records["none"]["over_plain_bf16"]["median"] == 2.0
    assert "gain" not in records["none"]  # it has no lane before it
    each = records["none"]["tflop_per_s"]["median"] / records["none"]["gflop_per_image"]
    assert each == pytest.approx(60 / 1000, rel=0.05)


def test_the_command_writes_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "step.json"
    small = ["--batch-size=4", "--size=16", "--rounds=1", "--steps=1", "--device=cpu"]
    assert main(["step", *small, "--precision=fp32", "--lanes=fused", f"--json={path}"]) == 0
    records = read_records(path, field="FILE")
    names = ["plain fp32", "plain fp32 NHWC", "none", "+ fused"]
    assert [record["lane"] for record in records] == names
    assert all(record["images_per_s"]["n"] == 1 for record in records)
    assert "+ fused" in capsys.readouterr().out
    with pytest.raises(UserError, match="--lanes=tf32: not one of channels_last"):
        main(["step", *small, "--lanes=tf32", f"--json={path}"])
