"""Figures are as metrics.jsonl has them, whatever has happened to the run."""

import json
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.train.reporting.markdown import write_markdown
from swiftsiam.train.reporting.paper import NOTHING
from swiftsiam.train.reporting.picture import draw_report
from swiftsiam.train.reporting.series import read_runs

from .conftest import Change, read_records, table_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("single_thread")]


def test_the_table_is_what_metrics_say(made: Path) -> None:
    records, table = read_records(made), table_of(made)
    steps = [r for r in records if r["type"] == "train"]
    last = [r for r in steps if "effective_rank" in r][-1]
    assert table["loss"] == [f"{steps[-1]['loss']:.4g}"]
    assert table["z_std"] == [f"{steps[-1]['z_std']:.4g}"]
    assert table["effective_rank"] == [f"{last['effective_rank']:.4g}"]
    knn = [r["knn"] for r in records if r["type"] == "knn"]
    assert table["kNN, %"] == [f"{knn[-1]:.2f}"]
    assert table["kNN of random initialisation, %"] == [f"{knn[0]:.2f}"]
    raw = next(r["knn"] for r in records if r["type"] == "floor")
    assert table["kNN of raw pixels, %"] == [f"{raw:.2f}"]
    rates = [r["images_per_s"] for r in steps]
    assert table["images/s, end-to-end"] == [f"{np.median(rates[1:]):,.0f}"]
    waits = [r["data_wait_percent"] for r in steps]
    assert table["waiting for data, %"] == [f"{np.median(waits[1:]):.1f}"]
    assert table["epochs"] == ["2 of 2"]
    assert table["state"] == ["finished"]
    assert table["the paper's linear, %"] == ["the paper has nothing to compare it with"]


def test_time_in_training_is_that_of_the_steps(made: Path) -> None:
    (run,) = read_runs([made])
    steps = [r["step"] for r in run.steps]
    paces = [r["images_per_s"] for r in run.steps]
    assert run.training_s == pytest.approx(np.sum(np.diff(steps, prepend=0) * 8 / paces))


@pytest.mark.parametrize(("code", "state"), [("75", "stopped"), ("1", "failed (exit code 1)")])
def test_how_a_run_ended(copy: Change, code: str, state: str) -> None:
    run = copy("run")
    (run / "exit_code").write_text(f"{code}\n")
    assert table_of(run)["state"][0].startswith(state)


def test_damaged_lines_are_left_out(copy: Change, made: Path) -> None:
    run = copy("run")
    damage = [
        b"\0" * 50,
        b'{"type": "train", "step": 3, "epo',
        b'{"type": "train", "step": 3}',
        b'{"type": "train", "step": 3, "epoch_progress": "x", "loss": 9, "images_per_s": 9}',
        b'{"type": "knn", "step": 3, "epoch_progress": 2}',
        b'{"type": "floor", "step": 0, "network": "raw pixels", "knn": null}',
        b"[1, 2]",
    ]
    lines = (run / "metrics.jsonl").read_bytes().splitlines()
    (run / "metrics.jsonl").write_bytes(b"\n".join([*lines[:4], *damage, *lines[4:]]) + b"\n")
    assert table_of(run) == table_of(made)
    draw_report(read_runs([run]), {})


def test_a_loss_that_was_not_finite_is_not_drawn(copy: Change) -> None:
    run = copy("run")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"type": "train", "step": 99, "epoch_progress": 9.0, "loss": NaN}\n')
    assert 9.0 not in read_runs([run])[0].series("loss").places
    draw_report(read_runs([run]), {})


def test_what_linear_has_found(copy: Change) -> None:
    run = copy("run")
    before = table_of(run).keys()
    for folder, accuracy in (
        ("linear/step4-linear-sgd", 50.0),
        ("linear/step10-linear-sgd", 61.25),
        ("linear/step4-finetune", 70.0),
        ("linear-2", 62.5),
    ):
        (run / folder).mkdir(parents=True)
        (run / folder / "summary.json").write_text(json.dumps({"accuracy": accuracy}))
    table = table_of(run)  # of a run of 10 steps
    assert table["linear-sgd, %"] == ["61.25"]
    assert table["finetune, %"] == ["70.00 (step 4)"]
    assert table["linear-2, %"] == ["62.50"]
    (run / "linear-2" / "summary.json").write_text("{")
    (run / "linear" / "step4-finetune" / "summary.json").write_text('{"accuracy": null}')
    (run / "linear" / "step10-linear-sgd" / "summary.json").unlink()
    table = table_of(run)
    assert table["linear-sgd, %"] == ["50.00 (step 4)"]
    assert table.keys() - before == {"linear-sgd, %"}


def test_the_papers_figure_stands_beside(copy: Change) -> None:
    run = copy(
        "run",
        {
            "cifar_resnet18_w16": "cifar_resnet18",
            "size: 16": "size: 32",
            "epochs: 2\n": "epochs: 800\n",
            "  batch_size: 8\n": "  batch_size: 512\n",
        },
    )
    table = table_of(run)
    assert table["the paper's linear, %"][0].startswith("91.8 (appendix D")
    assert table["others' kNN, %"] == ["90.4"]
    records = run / "metrics.jsonl"
    kept = records.read_text()
    records.write_text(f'{kept}{{"type": "accuracy", "step": 10, "accuracy": 50.0}}\n')
    assert table_of(run)["the paper's linear, %"] == [NOTHING]  # it is a linear evaluation
    records.write_text(kept)
    (run / "imported.json").touch()  # of which the configuration is a guess
    assert table_of(run)["the paper's linear, %"] == [NOTHING]
    assert table_of(run)["state"] == ["imported weights"]


def test_names_are_no_markdown(copy: Change) -> None:
    (run,) = read_runs([copy("a|b_*c* $d$")])
    written = write_markdown([run], {}, {run.name: "x"}, picture="report.png")
    assert "| a\\|b\\_\\*c\\* $d$ |" in written
    title = draw_report([run], {}).subfigs[0]._suptitle.get_text()
    assert title == r"a|b_*c* \$d\$"
