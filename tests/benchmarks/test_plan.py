"""`bench plan`: made-up figures whose answer is known, and the check's arithmetic and processes."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.plan import check
from swiftsiam.benchmarks.plan.collectives import Cluster, Link, all_reduce_s, gather_s
from swiftsiam.benchmarks.plan.exchange import Exchange, count_exchange
from swiftsiam.benchmarks.plan.forecast import Measured, find_most, foresee
from swiftsiam.benchmarks.plan.ranks import Setting
from swiftsiam.benchmarks.plan.stragglers import straggling
from swiftsiam.benchmarks.results import read_records
from swiftsiam.model.method import ModelConfig
from swiftsiam.pipeline.errors import UserError

SLOW = Cluster(
    gpus_per_host=2,
    cores_per_host=100,
    link=Link(bytes_per_s=100.0, latency_s=1.0),
    network=Link(bytes_per_s=10.0, latency_s=10.0),
    disk_bytes_per_s=1e9,
    start_s=1000.0,
)
FAST = Cluster(
    gpus_per_host=8,
    cores_per_host=1000,
    link=Link(bytes_per_s=1e11, latency_s=1e-6),
    network=Link(bytes_per_s=1e11, latency_s=1e-5),
    disk_bytes_per_s=1e10,
    start_s=0.0,
)
ONE = Measured(
    images_per_s=1000.0,
    batch_size=100,
    floor_s=0.0,
    core_ms_per_image=2.0,
    picture_bytes=1e5,
    exchange=Exchange(gradient_bytes=10**8, num_gathers=100, gathered_bytes=10**5),
)
"""A step takes 0.1 s."""


@pytest.mark.parametrize(
    ("num_gpus", "gather", "summed"),
    [
        (1, 0.0, 0.0),
        (2, 1000 + 1 + 1, 1000 + 1 + 2),
        (4, 1000 + 2 * 10 + 1 + 20, 1000 + 3 + 10 + 20),
        (16, 1000 + 8 * 10 + 7 + 140, 1000 + 3 + 17.5 + 60),
    ],
)
def test_collectives_take_what_one_works_out_by_hand(
    num_gpus: int, gather: float, summed: float
) -> None:
    assert gather_s(SLOW, num_gpus, 100) == pytest.approx(gather)
    assert all_reduce_s(SLOW, num_gpus, 100) == pytest.approx(summed)


def test_one_gpu_is_what_was_measured() -> None:
    plan = foresee(replace(ONE, noise=0.1), FAST, 1)
    assert plan.images_per_s == pytest.approx(1000)
    assert (plan.efficiency, plan.cost, plan.limit) == (1.0, 1.0, "nothing")
    assert plan.cores == pytest.approx(1000 * 0.002 + 1)
    assert plan.disk_bytes_per_s == pytest.approx(1e8)
    assert plan.hours == pytest.approx(128_116_700 / 1000 / 3600)
    assert plan.sent_bytes == plan.network_bytes_per_s == 0


def test_a_step_of_eight_by_hand() -> None:
    """Four buckets of 25 MB, each 2 · 7/8 · 25 MB / 100 GB/s + 14 µs; all but the last hidden."""
    plan = foresee(ONE, FAST, 8)
    assert plan.gathers_s == pytest.approx(100 * 7e-6 + 7 * 1e5 / 1e11)
    assert plan.sums_s == pytest.approx(4 * (1.75 * 25e6 / 1e11 + 14e-6))
    assert plan.exposed_s == pytest.approx(plan.sums_s / 4)
    assert plan.step_s == pytest.approx(0.1 + plan.gathers_s + plan.exposed_s)
    assert plan.sent_bytes == pytest.approx(1.75e8 + 7e5)
    unhidden = foresee(replace(ONE, hidden=0.0), FAST, 8)
    assert unhidden.exposed_s == pytest.approx(plan.sums_s)


def test_hosts_send_what_their_gpus_have_summed() -> None:
    plan = foresee(ONE, FAST, 16)
    assert plan.network_bytes_per_s * plan.step_s == pytest.approx(1e8 + 8e5)


def test_more_gpus_never_cost_less() -> None:
    plans = [foresee(replace(ONE, noise=0.05), FAST, 2**k) for k in range(11)]
    for before, after in pairwise(plans):
        assert after.cost >= before.cost
        assert after.cores > before.cores
        assert after.sent_bytes > before.sent_bytes
    assert plans[-1].gathers_s > 10 * plans[3].gathers_s


@pytest.mark.parametrize(
    ("measured", "cluster", "limit"),
    [
        ({}, {}, "nothing"),
        ({"core_ms_per_image": 1000.0}, {}, "cores"),
        ({}, {"cores_per_host": 8}, "cores"),  # none is left to load
        ({}, {"disk_bytes_per_s": 1e6}, "disk"),
        ({}, {"network": Link(bytes_per_s=1e8, latency_s=1e-6)}, "network"),
        ({}, {"network": Link(bytes_per_s=1e11, latency_s=1e-3)}, "BatchNorm's gathers"),
        ({"noise": 0.2}, {}, "stragglers"),
        ({"floor_s": 1.0}, {}, "launching"),
        ({"ranked": 0.5}, {}, "BatchNorm's arithmetic"),
    ],
)
def test_what_limits_is_named(
    measured: dict[str, Any], cluster: dict[str, Any], limit: str
) -> None:
    plan = foresee(replace(ONE, **measured), replace(FAST, **cluster), 16)
    assert plan.limit == limit
    assert (plan.efficiency < 0.9) == (limit != "nothing")


def test_what_limits_does_not_change_what_is_needed() -> None:
    plan = foresee(ONE, FAST, 16)
    starved = foresee(ONE, replace(FAST, disk_bytes_per_s=1e6), 16)
    assert starved.disk_bytes_per_s == plan.disk_bytes_per_s
    assert starved.images_per_s == pytest.approx(2 * 1e6 / 1e5)


def test_the_batch_of_all_is_kept_within_bounds() -> None:
    plan = foresee(ONE, FAST, 16, max_batch=200)
    assert (plan.batch_per_gpu, plan.global_batch) == (12, 192)
    assert plan.compute_s == pytest.approx(0.012)
    assert foresee(ONE, FAST, 1, max_batch=200).batch_per_gpu == 100
    assert foresee(replace(ONE, floor_s=0.05), FAST, 16, max_batch=200).compute_s == 0.05


def test_statistics_of_fewer_gathers_take_less() -> None:
    every, host, own = (foresee(replace(ONE, statistics=of), FAST, 64) for of in _STATISTICS)
    assert every.gathers_s > host.gathers_s > own.gathers_s == 0
    assert host.gathers_s == foresee(ONE, FAST, 8).gathers_s
    assert every.sent_bytes - own.sent_bytes == pytest.approx(63e5)
    assert foresee(replace(ONE, ranked=0.5), FAST, 2).compute_s == pytest.approx(0.15)
    assert foresee(replace(ONE, ranked=0.5, statistics="own"), FAST, 2).compute_s == 0.1


def test_who_shares_no_statistics_waits_once_a_step() -> None:
    noisy = replace(ONE, noise=0.05, lasting=0.0)
    every, host, own = (
        foresee(replace(noisy, statistics=of), FAST, 64).straggling for of in _STATISTICS
    )
    assert every > host > own > 1


_STATISTICS = ("all", "host", "own")


def test_the_most_gpus_that_are_used_well() -> None:
    assert find_most(replace(ONE, floor_s=0.1), FAST, max_batch=100) == 1
    assert find_most(replace(ONE, floor_s=0.1), FAST, max_batch=800) == 8


def test_who_never_varies_loses_nothing() -> None:
    assert straggling(1024, 0.0) == 1.0
    assert straggling(1, 0.5) == 1.0


def test_more_of_them_lose_more() -> None:
    lost = [straggling(count, 0.05) - 1 for count in (2, 8, 64, 1024)]
    assert lost == sorted(lost)
    assert lost[0] == pytest.approx(0.05 * 0.564, rel=0.15)  # of the larger of two normal draws
    assert straggling(8, 0.05) == straggling(8, 0.05)
    assert straggling(8, 0.05, seed=1) != straggling(8, 0.05)
    anew = straggling(8, 0.05, lasting=0.0, num_waits=25) - 1
    assert anew == pytest.approx(5 * lost[1], rel=0.25)


def test_what_is_exchanged_is_counted() -> None:
    found = count_exchange(ModelConfig(backbone="resnet50"))
    assert found.num_gathers == 4 * (53 + 3 + 1)
    assert found.gathered_bytes == 4 * 8 * (26_560 + 3 * 2048 + 512)
    assert found.gradient_bytes == 4 * 38_199_360


def run(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    path = tmp_path / "plan.json"
    assert main(["plan", f"--json={path}", *arguments]) == 0
    return read_records(path, field="FILE")


def no_constant(name: str) -> None:
    pytest.fail(f"{name} is no JSON")


def test_the_command_writes_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = run(tmp_path, "--gpus=1,16", "--cores-per-host=8", "--backbone=resnet18")
    forecasts = [record["forecast"] for record in records]
    assert [plan["num_gpus"] for plan in forecasts] == [1, 16, 1, 16]
    assert forecasts[1]["hours"] is None  # no core is left to load
    json.loads((tmp_path / "plan.json").read_text(), parse_constant=no_constant)
    assert {figure["figure"] for figure in records[0]["figures"]} >= {"step_rate", "core_ms"}
    out = capsys.readouterr().out
    assert "16 GPUs need" in out
    assert "limit: cores" in out
    assert "assumed" in out


def record(**changes: Any) -> dict[str, Any]:
    return {
        "machine": {"cpu": "a", "cores": 2, "gpu": None, "versions": {}, "commit": None},
        "scope": "step",
        "engine": "none",
        "work": "resnet18, 224 px, steps",
        "images_per_s": {"median": 50.0, "iqr": 1.349, "n": 5},
        "batch_size": 64,
        "num_workers": 0,
    } | changes


def test_what_was_measured_is_taken_from_results(tmp_path: Path) -> None:
    loader = {"scope": "loader", "core_ms_per_image": {"median": 3.0, "iqr": 0.1, "n": 5}}
    files = {
        "step": [record(), record(images_per_s={"median": 100.0, "iqr": 1.349, "n": 5})],
        "loader": [
            record(engine="ffcv", **loader),
            record(engine="peer", **loader | {"core_ms_per_image": {"median": 1.0, "n": 5}}),
        ],
    }
    files["loader"][1]["core_ms_per_image"]["iqr"] = 0.0
    for name, records in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    given = [f"--{name}={tmp_path / name}.json" for name in files]
    (first, *_) = run(tmp_path, *given, "--gpus=1", "--picture-kb=7")
    figures = {figure["figure"]: figure for figure in first["figures"]}
    assert first["name"] == "resnet18"
    assert figures["step_rate"]["value"] == 100
    assert figures["batch_size"]["value"] == 64
    assert figures["noise_percent"]["value"] == pytest.approx(1.0)
    assert figures["core_ms"]["value"] == 3  # a peer is not what would load
    assert figures["picture_kb"] | {"value": 7, "source": "given"} == figures["picture_kb"]
    assert "n 5" in figures["core_ms"]["source"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gpus=8,many"], "--gpus=8,many: many: must be a whole number"),
        (["--gpus=4096"], "--max-batch=2048: not a picture for each of 4,096 GPUs"),
        (["--core-ms=-1"], "--core-ms: -1: must be"),
        (["--step=none.json"], "none.json: cannot be read"),
        (["--backbone=vgg"], "--backbone: invalid choice"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        run(tmp_path, *arguments)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_step_of_an_unknown_network_needs_its_name(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    path.write_text(json.dumps([record(name="vgg16")]))
    with pytest.raises(UserError, match="does not say which backbone; give --backbone"):
        run(tmp_path, f"--step={path}")
    assert run(tmp_path, f"--step={path}", "--gpus=2", "--backbone=resnet18")


@pytest.mark.parametrize("option", ["step", "loader"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, option: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps([record(scope="read")]))
    with pytest.raises(UserError, match=f"--{option}=.*: has no record of"):
        run(tmp_path, f"--{option}={path}")


def test_the_check_puts_together_what_was_measured() -> None:
    """A step of 1 s, 92 gathers of 20 ms, half of which they take by themselves, 0.5 s of sums."""
    times = {"half": 0.5, "idle": 0.8, "busy": 0.8, "ranked": 1.0, "sum": 0.5, "gather": 0.01}
    once = {name: [[seconds], [seconds]] for name, seconds in times.items()}
    once |= {"piece": [[1.0, 2.0], [2.0, 3.0]], "paced": [[2.02, 2.02], [2.02, 2.02]]}
    once |= {"together": [[3.34], [3.34]]}
    found = check.build_record(Setting(), [once] * 3)
    assert found["foretold_ms"]["median"] == pytest.approx(3340, rel=1e-4)
    assert found["slower_of_two"]["median"] == 1.25
    assert found["two_processes"] == {"median": 1.0, "iqr": 0.0, "n": 3}
    assert found["half_a_batch"]["median"] == pytest.approx(0.8)
    assert found["ranked_percent"]["median"] == pytest.approx(25)


@pytest.mark.slow
def test_two_processes_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "check.json"
    check.run(path, rounds=2, backbone=None, batch_size=4, size=8, steps=2)
    (found,) = read_records(path, field="FILE")
    assert all(figure["median"] > 0 for figure in found["measured_ms"].values())
    assert found["two_processes"]["n"] == 2
    assert found["two_processes"]["median"] > 0
