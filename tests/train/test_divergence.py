"""A loss that is not finite: the batch is written, and can be looked at."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.model.method import Output
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.pipeline.sources import open_source
from swiftsiam.train.step import TrainStep

from .conftest import Cli, refused, tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The seventh batch has a loss that is not finite; the first view of each one."""
    plain_forward, plain_step, seen = SimSiam.forward, TrainStep.__call__, []

    def step(self: TrainStep, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> None:
        seen.append(views[0].clone())
        plain_step(self, views, labels)

    def forward(self: SimSiam, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        output = plain_forward(self, views, labels)
        return output._replace(loss=output.loss * float("nan")) if len(seen) == 7 else output

    monkeypatch.setattr(TrainStep, "__call__", step)
    monkeypatch.setattr(SimSiam, "forward", forward)
    return seen


def test_its_pictures_and_views_are_written_and_drawn(
    pictures: Path, here: Cli, tmp_path: Path, seen: list[torch.Tensor]
) -> None:
    arguments = tiny(pictures, "run", "data.val_path=null", "train.seed=3", "data.num_workers=0")
    done = here(*arguments)
    refused(done, "not finite at step 7", f"swiftsiam preview {tmp_path}/run/diverged.json")
    batch = json.loads((tmp_path / "run" / "diverged.json").read_text())
    assert (batch["step"], batch["epoch"], batch["seed"]) == (7, 1, 3)
    assert len(batch["samples"]) == 8
    source = open_source(str(pictures / "train"))
    for sample in batch["samples"]:
        assert source.key(sample["index"]) == sample["key"]
        assert len(sample["views"]) == 2
        first = sample["views"][0]
        assert 0 < first["height"] <= sample["height"] == 24
    done = here("preview", "run/diverged.json", "--out", "bad.png", "--images", "100")
    assert done.returncode == 0, done.stderr
    assert "8 of the 8 pictures of step 7" in done.stdout
    assert _contains(tmp_path / "bad.png", seen[6][0])


def _contains(sheet: Path, view: torch.Tensor) -> bool:
    """Whether a view is on the sheet, 16 px drawn at 96."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = view.float().permute(1, 2, 0).numpy() * std + mean
    tile = Image.fromarray((pixels * 255).round().clip(0, 255).astype(np.uint8))
    wanted = np.asarray(tile.resize((96, 96), Image.Resampling.NEAREST), np.int16)
    found = np.asarray(Image.open(sheet).convert("RGB"), np.int16)
    windows = np.lib.stride_tricks.sliding_window_view(found[:, :, 0], (96, 96))
    places = np.argwhere(np.abs(windows[:, :, ::95, ::95] - wanted[::95, ::95, 0]).max((2, 3)) <= 2)
    return any(
        np.abs(found[y : y + 96, x : x + 96] - wanted).max() <= 2 for y, x in places.tolist()
    )


def test_a_file_of_another_kind_is_refused(here: Cli, tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"samples": []}'):
        (tmp_path / "diverged.json").write_text(text)
        refused(here("preview", "diverged.json"), "diverged.json")
    refused(here("preview", "diverged.json", "--size=64"), "as the run had it", "--size")
