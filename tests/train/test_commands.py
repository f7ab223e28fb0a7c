"""knn, preview, doctor and the table of commands, as users call them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from swiftsiam.pipeline.engines import ENGINES

from .conftest import TIMEOUT_S, Cli, refused, start, tiny

pytestmark = pytest.mark.slow


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


def test_knn_of_a_bank_that_asks_itself(
    run: Path, here: Cli, tmp_path: Path, fill_folder: Callable[..., Path]
) -> None:
    """Pictures without any meaning, and labels by chance: no better than chance, and it is said."""
    noise = fill_folder(tmp_path / "noise", {"dark": 20, "light": 20})
    done = here("knn", str(run), str(noise), str(noise), "--k=1", "--json=k.json")
    assert done.returncode == 0, done.stderr
    assert "40 of the 40 queries are in the bank as well" in done.stdout
    assert json.loads((tmp_path / "k.json").read_text())["checkpoint"] < 90
    apart = here("knn", str(run), str(noise), str(fill_folder(tmp_path / "other", {"dark": 3})))
    assert apart.returncode == 0
    assert "in the bank as well" not in apart.stdout


def test_knn_needs_no_training_folder_when_it_has_a_bank(
    run: Path, pictures: Path, here: Cli, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(run, tmp_path / "moved"))
    config = (moved / "config.yaml").read_text().replace(str(pictures), "/nowhere")
    (moved / "config.yaml").write_text(config)
    done = here("knn", str(moved), str(pictures / "train"), str(pictures / "val"))
    assert done.returncode == 0, done.stderr
    refused(here("knn", str(moved), str(pictures / "val")), "data.path=/nowhere", "no such")


@pytest.mark.parametrize("which", ["bank", "queries"])
def test_knn_without_a_readable_picture(
    run: Path, pictures: Path, here: Cli, tmp_path: Path, which: str
) -> None:
    for name in ("dark", "light"):
        (tmp_path / "empty" / name).mkdir(parents=True)
        (tmp_path / "empty" / name / "1.jpg").touch()
    both = ["empty", str(pictures / "val")]
    done = here("knn", str(run), *(both if which == "bank" else reversed(both)))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("swiftsiam knn: dark/1.jpg: the file is empty")
    assert "nan" not in done.stdout


def test_foreign_checkpoints_are_called_by_their_name(
    pictures: Path, here: Cli, tmp_path: Path
) -> None:
    weights = {"module.encoder.conv1.weight": torch.zeros(1)}
    for name, content, words in (
        ("r.pth.tar", {"epoch": 1, "state_dict": weights}, "module.encoder.conv1.weight, …"),
        ("l.ckpt", {"state_dict": {"a.weight": torch.zeros(1)}, "hparams": 1}, "a.weight, …"),
        ("t.pt", torch.zeros(1), "holds a Tensor"),
    ):
        torch.save(content, tmp_path / name)
        refused(here("knn", name, str(pictures / "val")), name, words)
    (tmp_path / "text.pt").write_text("hello")
    refused(
        here("knn", "text.pt", str(pictures / "val")), "text.pt", "not a checkpoint of swiftsiam"
    )
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pt")
    refused(here("knn", "w.pt", str(pictures / "val")), "give BANK and QUERIES")


def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    pictures: Path, here: Cli, tmp_path: Path
) -> None:
    val = str(pictures / "val")
    (tmp_path / "file").touch()
    for arguments in (
        ("preview", val, "--out=no/where.png"),
        ("preview", val, "--out=."),
        ("preview", val, "--out=/proc/self/v.png"),
        ("parity", "--json=file/x.json"),
        ("bench", "loader", "--json=no/where.json"),
    ):
        refused(here(*arguments), arguments[-1].partition("=")[0])
    refused(here("demo-data", "file"), "DIR=", "is a file")
    refused(here("demo-data", "file/x"), "DIR=", "cannot be written")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["preview", "D", "--images=0"], "--images: 0: must be 1 to"),
        (["preview", "D", "--size=99999"], "--size: 99999: must be 8 to 1,024"),
        (["preview", "D", "--epoch=-1"], "--epoch: -1: must be 0 to"),
        (["bench", "loader", "--workers=1e9"], "--workers: 1e9: must be a whole number"),
        (["bench", "loader", "--workers=100000"], "--workers: 100000: must be 0 to 1,024"),
        (["demo-data", "D", "--images=39"], "--images: 39: must be 40 to"),
        (["demo-data", "D", "--seed=" + "9" * 24], "--seed: 999999999999999999999999: must be 0"),
        (["parity", "--images=0"], "--images: 0: must be 1 to"),
        (["knn", "RUN"], "DATA"),
        (["doctor", "--verbose"], "--verbose"),
    ],
)
def test_numbers_without_sense_are_refused(arguments: list[str], words: str, here: Cli) -> None:
    refused(here(*arguments), words)


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


def test_preview_shows_the_picture_and_two_views(pictures: Path, here: Cli, tmp_path: Path) -> None:
    done = here(
        "preview", str(pictures / "train"), "--out", "v.png", "--size", "64", "--images", "3"
    )
    assert done.returncode == 0, done.stderr
    sheet = np.asarray(Image.open(tmp_path / "v.png"))
    assert sheet.shape[2] == 3
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500
    again = here(
        "preview", str(pictures / "train"), "--out", "w.png", "--size", "64", "--epoch", "1"
    )
    assert again.returncode == 0
    assert not np.array_equal(sheet, np.asarray(Image.open(tmp_path / "w.png")))
    refused(here("preview", str(pictures / "train"), "--engine", "magic"), "loader.engine='magic'")


@pytest.mark.engine("ffcv", formats=("beton",))
def test_preview_of_shards_is_that_of_their_pictures(
    pictures: Path, here: Cli, tmp_path: Path
) -> None:
    source = str(pictures / "train")
    size = ["--size", "32", "--images", "4"]
    assert here("preview", source, "--out", "folder.png", *size).returncode == 0
    expected = (tmp_path / "folder.png").read_bytes()
    for to, target in (("beton", "x.beton"), ("webdataset", "shards")):
        done = here("convert", source, target, "--to", to, "--workers", "1")
        assert done.returncode == 0, done.stderr
        assert "40 pictures" in done.stdout
        assert here("preview", target, "--out", "shards.png", *size).returncode == 0
        assert (tmp_path / "shards.png").read_bytes() == expected


def test_doctor_says_what_works(cli: Cli) -> None:
    done = cli("doctor", "--json")
    assert done.returncode == 0, done.stdout
    findings = {f["name"]: f for f in json.loads(done.stdout)}
    assert findings["torch"]["status"] == "ok"
    assert all(f["remedy"] for f in findings.values() if f["status"] == "broken")
    assert findings.keys() >= {"machine", "gpu", "numba", "shared memory"}
    assert findings.keys() >= {f"{name} engine" for name in ENGINES}


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
