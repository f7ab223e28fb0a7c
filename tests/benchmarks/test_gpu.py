"""`bench gpu`: every line runs on a CPU, and a part that fails or hangs takes no other with it."""

import itertools
import json
import sys
from pathlib import Path

import pytest
import torch
from swiftsiam.benchmarks.gpu import command, decoding
from swiftsiam.benchmarks.gpu.context import TOY, Context
from swiftsiam.benchmarks.gpu.parts import PARTS
from swiftsiam.pipeline.errors import UserError

pytestmark = pytest.mark.slow


def read(out: Path) -> dict[str, list[dict]]:
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


@pytest.mark.engine("dali")
@pytest.mark.engine("ffcv")
def test_the_rehearsal_runs_all_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = command.main(["--rehearse", f"--out={tmp_path}", "--minutes=60"])
    told = capfd.readouterr()
    assert code == 0, told.out + told.err
    parts = read(tmp_path)
    assert parts.keys() == PARTS.keys()
    for name, records in parts.items():
        assert records, name
        for record in records:
            assert record["part"] == name
            assert record["holds"] is not False, record
            if "images_per_s" in record:
                assert record["scope"] in ("loader", "step", "end-to-end")
                assert record["images_per_s"]["median"] > 0
                assert record["work"]
    checks = [record["name"] for records in parts.values() for record in records]
    for engine in ("torchvision", "ffcv", "dali", "resident"):
        assert f"{engine}, crops: against the oracle" in checks
    scopes = {record.get("scope") for record in parts["end_to_end"]}
    assert scopes == {"end-to-end"}
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


@pytest.mark.parametrize(
    ("limit_s", "why"), [(1.5, "not done in 2 s"), (0, "no time was left for it")]
)
def test_a_part_that_hangs_is_stopped_and_what_it_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float, why: str
) -> None:
    record = '{"part": "memory", "name": "found", "holds": true}'
    hanging = tmp_path / "python"
    hanging.write_text(f"#!/bin/sh\necho '{record}' > $7/memory.jsonl\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    part = command.PARTS["memory"]
    monkeypatch.setitem(
        command.PARTS, "memory", type(part)(module=part.module, limit_s=limit_s, what="hang")
    )
    assert command.main(["--rehearse", f"--out={tmp_path / 'out'}", "--parts=memory"]) == 1
    *found, failure = read(tmp_path / "out")["memory"]
    assert failure["why"] == why
    assert len(found) == (limit_s > 0)


@pytest.mark.engine("dali")
def test_a_decoder_that_fails_at_every_file_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not made up for by the decoder that it is held against."""
    from nvidia.dali import Pipeline

    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("no decoder")

    monkeypatch.setattr(Pipeline, "share_outputs", fail)
    context = Context(
        part="decoding", device=torch.device("cpu"), sizes=TOY, folder=tmp_path, data=None
    )
    kinds = len(decoding.build_kinds())
    records = list(itertools.islice(decoding.decoding(context), kinds))
    assert [record["holds"] for record in records] == [False] * kinds
    assert {record["why"] for record in records} == {"no decoder"}


def test_mistakes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--parts=speed: no such part; one of environment, tests"):
        command.main(["--rehearse", "--parts=speed"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"no CUDA device; --rehearse runs it on the CPU"):
        command.main([])
