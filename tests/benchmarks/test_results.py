"""The JSON of benchmarks: what it must hold, and what is said of a file that does not."""

import copy
import json
from pathlib import Path

import pytest
from swiftsiam.benchmarks.results import (
    check_records,
    name_record,
    read_records,
    schema,
    write_records,
)
from swiftsiam.pipeline.errors import UserError

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
RATE = {"median": 100.0, "iqr": 2.0, "n": 5}
RECORD = {
    "scope": "loader",
    "engine": "ffcv",
    "work": "decode and two views",
    "images_per_s": RATE,
    "batch_size": 64,
    "num_workers": 2,
}


@pytest.mark.parametrize(
    "path",
    [path for path in RESULTS.glob("*/*.json") if path.stem != "parity"],  # which has no rates
    ids=lambda path: path.stem,
)
def test_what_is_published_is_as_the_schema_has_it(path: Path) -> None:
    assert read_records(path, field="FILE")


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_records(path, [RECORD], data="photos", surroundings={"others_percent": 1.5})
    (record,) = read_records(path, field="FILE")
    assert record["machine"]["cores"] >= 1
    assert record["data"] == "photos"
    assert name_record(record) == "loader, ffcv, photos, num_workers=2, batch_size=64"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scope": "speed"}, "0.scope: input should be 'step'"),
        ({"engine": None}, "0.engine: input should be a valid string"),
        ({"work": ...}, "0.work: field required"),
        ({"images_per_s": 100.0}, "0.images_per_s: input should be a valid dictionary"),
        ({"images_per_s": {"median": 1.0, "iqr": 0.0, "n": 0}}, "0.images_per_s.n: input should"),
        ({"images_per_s": ...}, "0.images_per_s: of the scope loader it is needed"),
        ({"num_workers": -1}, "0.num_workers: input should be greater than"),
        ({"machine": {"cpu": "a"}}, "0.machine.cores: field required"),
    ],
)
def test_what_is_missing_or_wrong_is_told_by_its_place(tmp_path: Path, change, told: str) -> None:
    path = tmp_path / "x.json"
    write_records(path, [RECORD])
    (record,) = json.loads(path.read_text())
    record = {key: value for key, value in (record | change).items() if value is not ...}
    with pytest.raises(ValueError, match=told):
        check_records([record])
    path.write_text(json.dumps([record]))
    with pytest.raises(UserError, match=f"B.json=.*: no results of a benchmark: {told}"):
        read_records(path, field="B.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [("{}", "the file: input should be a valid list"), ("[", "Expecting value"), ("", "Expecting")],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"A.json=.*x.json: no results of a benchmark: {told}"):
        read_records(path, field="A.json")
    with pytest.raises(UserError, match=r"A.json=.*y.json: cannot be read \(No such file"):
        read_records(tmp_path / "y.json", field="A.json")


def test_other_arguments_make_another_record() -> None:
    other = copy.deepcopy(RECORD)
    assert name_record(RECORD) == name_record(other | {"images_per_s": RATE | {"median": 9.0}})
    for key, value in {"num_workers": 1, "data": "b", "precision": "bf16", "size": 32}.items():
        assert name_record(RECORD) != name_record(other | {key: value})


def test_the_schema_names_what_is_needed() -> None:
    record = schema()["$defs"]["_Record"]
    assert set(record["required"]) == {"scope", "engine", "work", "machine"}
    assert record["additionalProperties"] is True
