"""`bench step`: each lane has its record, and the ratios are those of the rounds."""

from pathlib import Path

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.results import read_records
from swiftsiam.benchmarks.roofline import build_ceilings
from swiftsiam.benchmarks.step import Round, build_records, measure
from swiftsiam.benchmarks.step_contestants import Contestant, Setting, build_contestants
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
    rounds, seconds = measure(SETTING, contestants, build_ceilings("cpu", ["fp32", "bf16"]))
    assert {name: len(of) for name, of in rounds.items()} == dict.fromkeys(names, 2)
    assert {name: len(of) for name, of in seconds.items()} == dict.fromkeys(
        ("bandwidth", "fp32", "bf16"), 2
    )


def test_what_torch_has_one_of_is_set_before_each_round() -> None:
    """TF32 and cuDNN's choice belong to the process: the last one built would have them for all."""
    happened = []

    def contestant(name: str) -> Contestant:
        return Contestant(
            name, "", "fp32", lambda: happened.append(name), lambda: happened.append(f"set {name}")
        )

    measure(SETTING, [contestant("a"), contestant("b")], build_ceilings("cpu", []))
    assert happened[:5] == ["set a", *["a"] * 4]
    for name in ("a", "b"):
        places = [i for i, what in enumerate(happened) if what == f"set {name}"]
        assert len(places) == 1 + 2  # for the warm-up and for each round
        assert all(happened[i + 1] == name for i in places)


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
    *lanes, ceiling, verdict = records
    names = ["plain fp32", "plain fp32 NHWC", "none", "+ fused"]
    assert [record["lane"] for record in lanes] == names
    assert all(record["images_per_s"]["n"] == 1 for record in lanes)
    assert all(record["roof_percent"] > 0 for record in lanes)
    assert (ceiling["scope"], ceiling["lane"]) == ("machine", "roofline")
    assert ceiling["bandwidth_gb_s"]["median"] > 0
    assert ceiling["matmul_tflop_s"]["fp32"]["n"] == 1
    printed = capsys.readouterr().out
    assert "+ fused" in printed
    assert all(f"verdict: {line}" in printed for line in verdict["lines"])
    with pytest.raises(UserError, match="--lanes=tf32: not one of channels_last"):
        main(["step", *small, "--lanes=tf32", f"--json={path}"])
