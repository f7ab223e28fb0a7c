"""Runs of a table without the time that they take."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.train.config import read_config, to_yaml
from swiftsiam.train.lab import twins
from swiftsiam.train.lab.data_set import DataSet
from swiftsiam.train.lab.plan import PLAN, Plan, fill_rows, parse_row, write_plan
from swiftsiam.train.lab.runs import Wanted, list_wanted
from swiftsiam.train.lab.tables import TABLES

VERSIONS = {"swiftsiam": "1.2", "commit": "abc"}
VERSION = "swiftsiam 1.2, commit abc"

CPU = read_config("cifar10-cpu", ["data.path=/pictures"])


def make_plan(name: str = "stop-gradient", *, seeds: int = 2) -> Plan:
    rows, left_out = fill_rows(TABLES[name], CPU, num_pictures=5000)
    return Plan(
        name=name,
        table=TABLES[name],
        rows=tuple(rows),
        left_out=tuple(left_out),
        seeds=seeds,
        epochs=3,
        limit=5000,
        config=CPU,
        data=DataSet(digest="0", val_digest="1", count=50_000, num_classes=10),
        named=("--data DATA",),
        options=("--set", "optim.momentum=0.8"),
        version="swiftsiam of a test",
        budget_s=90.0,
    )


def write_run(plan: Plan, each: Wanted, *, knn: float, z_std: float = 0.95) -> None:
    """As a run leaves it that has come to its end."""
    each.path.mkdir(parents=True)
    each.path.joinpath("config.yaml").write_text(to_yaml(parse_row(plan.config, each.overrides)))
    records = [
        {
            "type": "train",
            "step": 10 * epoch,
            "epoch_progress": epoch,
            "loss": -0.3 * epoch,
            "z_std": z_std,
            "images_per_s": 400.0,
        }
        for epoch in (1, 2, 3)
    ]
    records.append({"type": "knn", "step": 30, "epoch_progress": 3, "knn": knn})
    lines = "".join(json.dumps(record) + "\n" for record in records)
    each.path.joinpath("metrics.jsonl").write_text(lines)
    each.path.joinpath("summary.json").write_text(json.dumps({"versions": VERSIONS}))
    each.path.joinpath("exit_code").write_text("0")


MakeTable = Callable[..., tuple[Plan, Path]]


@pytest.fixture
def make_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTable:
    """A table with these kNN figures, by the row's name, of one or more seeds each."""
    monkeypatch.setattr(twins, "describe_version", lambda: VERSION)

    def make(name: str, knn: dict[str, list[float]], **spread: float) -> tuple[Plan, Path]:
        plan = make_plan(name, seeds=max(map(len, knn.values()), default=1))
        folder = tmp_path / name
        folder.mkdir()
        write_plan(plan, folder / PLAN)
        for each in list_wanted(plan, folder):
            row = each.planned.row.name
            if len(knn.get(row, [])) > each.seed:
                write_run(plan, each, knn=knn[row][each.seed], z_std=spread.get(row, 0.95))
        return plan, folder

    return make
