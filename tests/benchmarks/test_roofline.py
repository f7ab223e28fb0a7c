"""The roof: bytes counted against sums by hand, and verdicts from made-up figures."""

import pytest
import torch
from swiftsiam.benchmarks.roofline import _Traffic, count_traffic, find_roof, judge_step
from swiftsiam.model.method import ModelConfig

MODEL = ModelConfig(backbone="cifar_resnet18_w16", projector_hidden=512, projection_dim=512)


def lane(rate: float, *, name: str = "+ fused", precision: str = "bf16", **more) -> dict:
    return {
        "lane": name,
        "precision": precision,
        "images_per_s": {"median": rate},
        "gflop_per_image": 2.0,
        "mb_per_image": 50.0,
    } | more


def machine(tflop_s: float, gb_s: float) -> dict:
    return {"matmul_tflop_s": {"bf16": {"median": tflop_s}}, "bandwidth_gb_s": {"median": gb_s}}


def test_every_operation_reads_its_inputs_and_writes_its_results_once() -> None:
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    with _Traffic() as counter:
        product = a @ b
        product.t()  # a view moves nothing
    assert counter.num_bytes == 4 * (200 + 600 + 300)
    with counter:
        product.relu_()
    assert counter.num_bytes == 4 * (200 + 600 + 300) + 4 * 2 * 300


def test_traffic_grows_with_pictures_and_halves_in_bf16() -> None:
    def count(**changes) -> int:
        told = {"num_views": 2, "size": 32, "batch_size": 64, "precision": "fp32"}
        return count_traffic(MODEL, **(told | changes))

    whole = count()
    # By hand, of the widest layers alone: ResNet-18's first stage, 16 maps of 32 by 32, has five
    # convolutions, each with BatchNorm and ReLU: three passes forward, read and written.
    assert whole > 2 * 5 * 3 * 2 * (16 * 32 * 32 * 4)
    assert 3.3 < count(size=64) / whole < 4
    assert 0.4 < count(precision="bf16") / whole < 0.75
    assert count(batch_size=2) > whole > count(batch_size=4096)


def test_the_lower_of_two_roofs_limits() -> None:
    narrow = find_roof(lane(150.0), machine(1.0, 10.0))  # 500 by arithmetic, 200 by traffic
    assert (narrow.arithmetic, narrow.traffic) == (500.0, 200.0)
    assert narrow.limit == "memory traffic"
    assert narrow.percent == pytest.approx(75.0)
    assert narrow.utilisation_percent == pytest.approx(30.0)
    wide = find_roof(lane(150.0), machine(1.0, 100.0))
    assert wide.limit == "arithmetic"
    assert wide.percent == pytest.approx(30.0)


def test_the_verdict_names_roof_utilisation_and_the_best_lane() -> None:
    lanes = [
        lane(50.0, name="none"),
        lane(120.0, name="+ precision", gain={"median": 2.4}),
        lane(150.0, name="+ fused", gain={"median": 1.25}),
    ]
    lines = judge_step(lanes, machine(1.0, 10.0))
    assert lines[0].startswith("limited by memory traffic: unfused traffic allows 200 images/s")
    assert "75 % of the roof" in lines[0]
    assert lines[1].startswith("model-FLOPs utilisation 30 %")
    assert lines[2] == "the lane that gains most: + precision, 2.40 x"
    assert "2.5 x at most" in lines[3]
    compiled = [*lanes, lane(180.0, name="+ compile", gain={"median": 1.2})]
    assert not any("at most" in line for line in judge_step(compiled, machine(1.0, 10.0)))
