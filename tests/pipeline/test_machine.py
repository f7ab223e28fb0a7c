"""How many cores there are for us."""

import os
from pathlib import Path

import pytest
from swiftsiam.pipeline import machine
from swiftsiam.pipeline.machine import num_cores


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def test_affinity_counts(cgroup: Path) -> None:
    assert num_cores() == 8
    (cgroup / "cpu.max").write_text("max 100000\n")
    assert num_cores() == 8


@pytest.mark.parametrize(
    ("quota", "expected"), [(300_000, 3), (150_000, 2), (20_000, 1), (10**7, 8)]
)
def test_a_containers_quota_counts(cgroup: Path, quota: int, expected: int) -> None:
    (cgroup / "cpu.max").write_text(f"{quota} 100000\n")
    assert num_cores() == expected
    (cgroup / "cpu.max").unlink()
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert num_cores() == expected
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert num_cores() == 8


def test_only_this_function_counts_cores() -> None:
    """Nowhere else is it asked how many there are, so that a quota is never overlooked."""
    root = Path(__file__).parents[2]
    asking = [
        path.relative_to(root)
        for room in ("cli", "pipeline", "model", "train", "benchmarks")
        for path in (root / room).rglob("*.py")
        if any(word in path.read_text() for word in ("sched_getaffinity", "cpu_count"))
    ]
    assert asking == [Path("pipeline/machine.py")]
