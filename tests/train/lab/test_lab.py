"""`swiftsiam lab` as a user runs it."""

import errno
import json
import shutil
import signal
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import MachineError
from swiftsiam.pipeline.machine import num_cores
from swiftsiam.train.lab.command import _writing
from swiftsiam.train.lab.outcome import lone_picture_std
from swiftsiam.train.lab.tables import TABLES

from ..conftest import Cli, refused, start

QUICK = [
    *("--epochs", "2", "--set", "augment.size=16", "--set", "model.projector_hidden=32"),
    *("--set", "model.projection_dim=32", "--set", "train.batch_size=4"),
    *("--set", "train.num_threads=1", "--set", "eval.k=3", "--set", "train.log_every=2"),
]


def test_list_names_every_table_and_its_rows(here: Cli) -> None:
    done = here("lab", "list")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in TABLES)
    one = here("lab", "list", "predictor")
    assert "no predictor; the paper: 0.1" in one.stdout
    assert "model.predictor=identity" in one.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "stop-gradent"], ["stop-gradent", "did you mean stop-gradient"]),
        (["list", "colours"], ["colours", "one of stop-gradient"]),
        (["run", "predictor", "--val", "x"], ["--val", "give --data"]),
        (["run", "predictor", "--data", "nowhere"], ["nowhere"]),
        (["run", "predictor", "--data", "{data}", "--pictures", "9"], ["--pictures", "--epochs"]),
        (["sweep", "optim.base_lr"], ["section.key=value"]),
        (["run", "predictor", "--set", "train.seed=3"], ["train.seed", "--seeds"]),
        (["run", "predictor", "--data", "{data}", "--epochs", "1"], ["--data", "batch_size=N"]),
        (["sweep", "optim.base_ler=1,2", "--data", "{data}"], ["did you mean optim.base_lr"]),
        (["run", "predictor", "--data", "{data}", "--jobs", "900"], ["--jobs=900", "cores here"]),
        ([], ["COMMAND"]),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str], words: list[str], here: Cli, pictures: Path
) -> None:
    refused(here("lab", *(text.format(data=pictures) for text in arguments)), *words)


@pytest.mark.slow
def test_a_table_is_run_stopped_continued_and_told(
    pictures: Path, cli: Cli, here: Cli, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    command = ["lab", "run", "stop-gradient", "--data", str(data), "--out", "out", *QUICK]
    process = start(command, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:  # the first run is there, the second is beginning
        if line.startswith("run 2 of"):
            process.send_signal(signal.SIGTERM)
            break
    out, err = process.communicate(timeout=500)
    assert process.returncode == 75, err
    assert "the same command goes on" in out
    first = (tmp_path / "out/runs/simsiam-s0/metrics.jsonl").read_bytes()

    # More pictures than there are were all of them.
    done = cli(*command, "--pictures", "900", "--jobs", str(min(num_cores(), 2)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "1 of 4 runs are there already"
    assert (tmp_path / "out/runs/simsiam-s0/metrics.jsonl").read_bytes() == first
    page = (tmp_path / "out/table.md").read_text()
    assert page in done.stdout
    for words in ("| with stop-gradient | ", "67.7 |", "raw pixels", "2 classes"):
        assert words in page
    assert str(tmp_path) not in page
    assert (tmp_path / "out/table.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [run["row"] for run in results["runs"]] == [r.name for r in TABLES["stop-gradient"].rows]
    assert all(run["steps"] == 20 and run["knn"] > 0 for run in results["runs"])

    for given, words in (
        (["--pictures", "20"], ["--pictures=20", "begun with 40"]),
        (["--set", "optim.base_lr=1"], ["optim.base_lr=1", "choose another --out"]),
    ):
        refused(here(*command, *given), *words)
    (data / "train/dark/0.png").unlink()
    refused(here(*command), "not the pictures", "40 then, 39 now")
    other = ["lab", "run", "predictor", *command[3:]]
    refused(here(*other), "--out", "holds the table stop-gradient")
    (tmp_path / "out/lab.json").unlink()
    refused(here(*other), "--out", "holds runs")


def test_a_disk_that_is_full_is_told() -> None:
    with (
        pytest.raises(MachineError, match=r"--out=there: .*\(full\).*make room"),
        _writing(Path("there")),
    ):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="many"), _writing(Path("there")):
        raise OSError(errno.EMFILE, "many")


def test_one_picture_makes_up_for_all_others() -> None:
    import torch
    from swiftsiam.model.statistics import normalized_std

    z = torch.full((64, 16), -1.0)
    z[0] = 63
    assert z.sum() == 0
    assert normalized_std(z).item() == pytest.approx(lone_picture_std(64), rel=1e-5)
