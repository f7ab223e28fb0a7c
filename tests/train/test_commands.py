"""knn, preview, doctor and the table of commands, as users call them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import TIMEOUT_S, Cli, refused, start, tiny


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    process = start(tiny(pictures, "run", "train.epochs=1"), folder)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return folder / "run"


def test_knn_repeats_what_the_run_measured(
    run: Path, pictures: Path, cli: Cli, tmp_path: Path
) -> None:
    done = cli("knn", str(run), str(pictures / "val"), "--floors", "--json", "knn.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "knn.json").read_text())
    assert figures["checkpoint"] == json.loads((run / "summary.json").read_text())["knn"]
    assert figures["raw pixels"] == 100.0  # dark against light
    assert f"kNN {figures['checkpoint']:.2f} %" in done.stdout


def test_knn_names_what_is_wrong(run: Path, pictures: Path, here: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other" / "unheard of"
    other.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(other / "a.png")
    for arguments, word in (
        ((str(run), str(tmp_path / "other")), "'unheard of'"),
        ((str(tmp_path), str(pictures / "val")), "neither a checkpoint"),
        ((str(run), str(pictures / "val"), "--k=0"), "--k: 0: must be 1"),
        ((str(run), str(pictures / "val"), "--max-bank=0"), "--max-bank: 0: must be 1"),
        ((str(run), str(pictures / "val"), "--temperature=nan"), "--temperature: nan"),
        ((str(run), str(pictures / "val"), "--json=no/where.json"), "does not exist"),
    ):
        refused(here("knn", *arguments), word)


def test_preview_shows_the_picture_and_two_views(pictures: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "preview", str(pictures / "train"), "--out", "v.png", "--size", "64", "--images", "3"
    )
    assert done.returncode == 0, done.stderr
    sheet = np.asarray(Image.open(tmp_path / "v.png"))
    assert sheet.shape[2] == 3
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500
    again = cli(
        "preview", str(pictures / "train"), "--out", "w.png", "--size", "64", "--epoch", "1"
    )
    assert again.returncode == 0
    assert not np.array_equal(sheet, np.asarray(Image.open(tmp_path / "w.png")))
    assert cli("preview", str(pictures / "train"), "--engine", "magic").returncode == 2


def test_doctor_says_what_works(cli: Cli) -> None:
    done = cli("doctor", "--json")
    assert done.returncode == 0, done.stdout
    findings = {f["name"]: f for f in json.loads(done.stdout)}
    assert findings["torch"]["status"] == "ok"
    assert all(f["remedy"] for f in findings.values() if f["status"] == "broken")
    assert findings.keys() >= {"machine", "gpu", "numba", "dali", "ffcv", "shared memory"}


@pytest.mark.parametrize(
    "command",
    ["pretrain", "knn", "preview", "parity", "doctor", "demo", "demo-data", "bench loader"],
)
def test_every_command_explains_itself(
    command: str, here: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        here(*command.split(), "--help")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: swiftsiam {command}")


def test_unknown_command_gets_a_hint(here: Cli) -> None:
    done = here("pretrian")
    assert done.returncode == 2
    assert "did you mean pretrain" in done.stderr
