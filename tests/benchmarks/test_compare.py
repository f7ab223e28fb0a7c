"""`bench compare`: made-up figures whose answer is known, and what cannot be compared."""

import json
from pathlib import Path

import pytest
from swiftsiam.benchmarks import compare as module
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.compare import EXIT_SLOWER, EXIT_UNDECIDED, compare
from swiftsiam.benchmarks.results import Record
from swiftsiam.pipeline.errors import UserError

MACHINE = {"cpu": "a", "cores": 2, "gpu": None, "versions": {}, "commit": None}


def record(
    core_ms: float, *, iqr: float = 0.02, n: int = 5, engine: str = "ffcv", **changes
) -> Record:
    """Of a loader; the interquartile range relative to the median."""
    return {
        "machine": MACHINE,
        "scope": "loader",
        "engine": engine,
        "work": "views",
        "images_per_s": {"median": 2000 / core_ms, "iqr": 2000 / core_ms * iqr, "n": n},
        "core_ms_per_image": {"median": core_ms, "iqr": core_ms * iqr, "n": n},
        "batch_size": 64,
        "num_workers": 2,
    } | changes


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (record(2.0), record(2.0), "equal"),
        (record(2.0), record(2.06), "equal"),
        (record(2.0), record(2.2), "slower"),
        (record(2.2), record(2.0), "faster"),
        (record(2.0, iqr=0.2), record(2.2, iqr=0.2), "undecided"),
        (record(2.0, iqr=0.05), record(2.2, iqr=0.05), "slower"),
        (record(2.0, iqr=0.2), record(3.0, iqr=0.2), "slower"),
        (record(2.0, iqr=0.2, n=200), record(2.2, iqr=0.2, n=200), "slower"),
        (record(2.0, n=1), record(2.2, n=1), "undecided"),
    ],
)
def test_outcomes(before: Record, after: Record, outcome: str) -> None:
    (change,) = compare([before], [after])
    assert change.outcome == outcome
    assert change.what == "core_ms_per_image"


def test_a_gpu_goes_by_its_rate() -> None:
    machine = MACHINE | {"gpu": "NVIDIA X"}
    slow, fast = (record(core_ms, machine=machine) for core_ms in (4.0, 2.0))
    slow["core_ms_per_image"]["median"] = 1.0  # whatever the host does meanwhile
    (change,) = compare([fast], [slow])
    assert (change.what, change.outcome) == ("images_per_s", "slower")
    assert change.slowdown == pytest.approx(2.0)


def test_only_what_was_measured_alike_is_compared() -> None:
    before = [record(2.0), record(2.0, engine="dali"), record(2.0, num_workers=1)]
    after = [record(2.0, engine="dali"), record(9.0, num_workers=4)]
    (change,) = compare(before, after)
    assert change.name.startswith("loader, dali")
    with pytest.raises(UserError, match="nothing stands in both"):
        compare(before, after[1:])


def test_a_busy_machine_is_refused() -> None:
    busy = record(2.0, surroundings={"others_percent": 40.0})
    with pytest.raises(
        UserError, match=r"B.json: others took 40 % of the cores while loader, ffcv"
    ):
        compare([record(2.0)], [busy])
    assert compare([record(2.0)], [record(2.0, surroundings=None)])


def test_other_machines_are_refused() -> None:
    other = record(2.0, machine=MACHINE | {"cores": 4})
    with pytest.raises(UserError, match=r"of different machines \(a, 2 cores; a, 4 cores\)"):
        compare([record(2.0)], [other])


@pytest.mark.parametrize(
    ("after", "code", "told"),
    [
        ([record(2.0), record(3.0, engine="dali")], 0, "nothing is slower (2 equal)"),
        ([record(2.3), record(3.0, engine="dali")], EXIT_SLOWER, "slower: loader, ffcv"),
        (
            [record(2.0, iqr=0.5), record(3.0, engine="dali")],
            EXIT_UNDECIDED,
            "nothing is slower (1 undecided, 1 equal)",
        ),
    ],
)
def test_the_exit_code_and_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: list[Record], code: int, told: str
) -> None:
    before = [record(2.0), record(3.0, engine="dali")]
    for name, records in (("a", before), ("b", after)):
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == code
    assert told in capsys.readouterr().out


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "array"
    with pytest.raises(UserError, match="give two files"):
        main(["compare", "a.json"])


def test_what_must_be_seen_is_more_than_what_two_runs_differ_by() -> None:
    assert module.DRIFT < module.WANTED / 2
