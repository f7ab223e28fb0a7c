"""`bench gpu`: every line runs on a CPU, and a part that fails or hangs takes no other with it."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from swiftsiam.benchmarks.gpu import command
from swiftsiam.benchmarks.gpu.parts import PARTS
from swiftsiam.pipeline.errors import UserError

pytestmark = pytest.mark.slow


def read(out: Path) -> dict[str, list[dict]]:
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


@pytest.mark.engine("dali")
@pytest.mark.engine("ffcv")
@pytest.mark.parametrize("name", PARTS)
def test_the_rehearsal_runs_all_of_it(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Limits are of a card's time; a test has its own.
    monkeypatch.setitem(PARTS, name, replace(PARTS[name], limit_s=100_000))
    arguments = [f"--parts={name}", f"--out={tmp_path}", "--minutes=1000"]
    code = command.main(["--rehearse", *arguments])
    told = capfd.readouterr()
    assert code == 0, told.out + told.err
    (records,) = read(tmp_path).values()
    assert records
    for record in records:
        assert record["part"] == name
        assert record["holds"] is not False, record
        if "images_per_s" in record:
            assert record["scope"] in ("loader", "step", "end-to-end")
            assert record["images_per_s"]["median"] > 0
            assert record["work"]
    checks = [record["name"] for record in records]
    if name == "delivery":
        for engine in ("torchvision", "ffcv", "dali", "resident"):
            assert f"{engine}, crops: against the oracle" in checks
    if name == "end_to_end":
        assert {record.get("scope") for record in records} == {"end-to-end"}
    assert "checks hold, 0 do not" in told.out


def test_a_part_that_fails_is_told_and_the_next_one_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [f"--data={tmp_path / 'empty'}", "--parts=loader_times,transfers"]
    assert command.main(["--rehearse", f"--out={tmp_path / 'out'}", *arguments]) == 1
    parts = read(tmp_path / "out")
    assert [record["holds"] for record in parts["loader_times"]] == [False]
    assert "ended with" in parts["loader_times"][0]["why"]
    assert all(record["holds"] for record in parts["transfers"])
    assert "4 checks hold, 1 do not" in capfd.readouterr().out


def test_a_part_that_hangs_is_stopped_and_what_it_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(command: list[str], *, timeout: float, check: bool) -> None:
        name, folder = command[command.index("--serve") + 1 :][:2]
        record = {"part": name, "name": "found", "holds": True}
        (Path(folder) / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    arguments = ["--rehearse", f"--out={tmp_path}", "--parts=memory,transfers"]
    assert command.main(arguments) == 1
    for records in read(tmp_path).values():
        assert [record["holds"] for record in records] == [True, False]
        assert records[1]["why"] == "not done in 60 s"


def test_when_no_time_is_left_the_other_parts_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 100_000, 61))
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    arguments = ["--rehearse", f"--out={tmp_path}", "--parts=memory,transfers", "--minutes=1"]
    assert command.main(arguments) == 1
    whys = [records[0]["why"] for records in read(tmp_path).values()]
    assert whys == ["no time was left for it"] * 2


def test_mistakes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--parts=speed: no such part; one of environment, tests"):
        command.main(["--rehearse", "--parts=speed"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"no CUDA device; --rehearse runs it on the CPU"):
        command.main([])
