"""Damaged shards and betons, read by every engine: told, or read; no crash, no hang."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from swiftsiam.pipeline.engines import ENGINES

TIMEOUT_S = 550
PROGRAM = Path(__file__).with_name("damaged_engines.py")


@pytest.mark.slow
@pytest.mark.parametrize("count", [32, pytest.param(1000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.engine(name, formats=("beton",)))
        for name, info in ENGINES.items()
        if info.reads_pictures
    ],
)
def test_damage_is_told_or_read(
    converted: dict[str, Path], tmp_path: Path, engine: str, count: int
) -> None:
    folder = tmp_path / "sets"
    folder.mkdir()
    command = [sys.executable, PROGRAM, engine, str(count), folder, *converted.values()]
    with open(tmp_path / "told", "w+") as told, open(tmp_path / "errors", "w+") as errors:
        # In a process of its own, which may crash without taking this one along.
        try:
            done = subprocess.run(command, stdout=told, stderr=errors, timeout=TIMEOUT_S)
            ended = f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = "a hang"
        told.seek(0)
        errors.seek(0)
        lines, printed = [json.loads(line) for line in told], errors.read()
    assert ended == "exit code 0", f"{ended} at {lines[-1:]}\n{printed[-3000:]}"
    for begun, outcome in zip(lines[::2], lines[1::2], strict=True):
        assert "error" not in outcome, f"{begun['damaged']}\n{outcome['error']}"
    assert len(lines) == 2 * count
    assert "Traceback" not in printed
    seen = Counter(kind for outcome in lines[1::2] for kind, what in outcome.items() if what)
    assert min(seen[kind] for kind in ("refused", "bad", "same", "changed")) > 0, seen
