"""Neighbours are those that a search of all pictures finds, and are shown as they are."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex
from PIL import Image
from swiftsiam import build_eval_spec, build_loader, open_source
from swiftsiam.train import device
from swiftsiam.train.reporting.neighbours import Neighbours, choose_different, find_neighbours
from swiftsiam.train.reporting.picture import draw_report
from swiftsiam.train.reporting.series import read_runs
from swiftsiam.train.weights.trained import load_trained

from .conftest import Change

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("single_thread")]


def search(run: Path, **options: int) -> Neighbours:
    asked = {"num_queries": 6, "num_bank": 2000, "k": 5} | options
    return find_neighbours(read_runs([run])[0], **asked)


def test_neighbours_are_those_of_a_search_of_all(
    made: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_fast_bf16", lambda device: False)  # rounding is not the point
    found = search(made, num_queries=6, k=5)
    trained = load_trained(made)
    network = trained.build()

    def embed(split: str) -> np.ndarray:
        source = open_source(pictures / split)
        specs = (build_eval_spec(trained.config.augment),)
        options = {"global_batch_size": 1, "train": False, "engine": "torchvision"}
        with build_loader(source=source, specs=specs, **options) as batches, torch.no_grad():
            features = [F.normalize(network(batch.views[0].float()), dim=1) for batch in batches]
        return torch.cat(features).double().numpy()

    bank, queries = embed("train"), embed("val")
    bank_source, query_source = open_source(pictures / "train"), open_source(pictures / "val")
    assert found.num_bank == 40
    assert len(found.rows) == 6
    assert len({row.query.index for row in found.rows}) == 6
    for row in found.rows:
        similarity = bank @ queries[row.query.index]
        best = np.sort(similarity)[::-1][:5]
        assert len({n.shown.index for n in row.neighbours}) == 5
        assert [n.similarity for n in row.neighbours] == pytest.approx(best, abs=1e-5)
        own = similarity[[n.shown.index for n in row.neighbours]]
        assert own == pytest.approx(best, abs=1e-5)
        assert_shown(row.query, query_source, pictures / "val")
        for neighbour in row.neighbours:
            assert_shown(neighbour.shown, bank_source, pictures / "train")
            assert neighbour.is_right == (neighbour.shown.class_name == row.query.class_name)
    assert found.chance == 0.5


def assert_shown(shown: Any, source: Any, folder: Path) -> None:
    key = source.key(shown.index)
    assert key.startswith(f"{shown.class_name}/")
    with Image.open(folder / key) as image:
        assert np.array_equal(shown.pixels, np.asarray(image.convert("RGB")))


def test_classes_are_compared_by_name(copy: Change, pictures: Path, tmp_path: Path) -> None:
    """The only class of the queries is the second one of the bank."""
    shutil.copytree(pictures / "val" / "light", tmp_path / "few" / "light")
    run = copy("light", {str(pictures / "val"): str(tmp_path / "few")})
    found = search(run, num_queries=3, k=40)
    assert [row.query.class_name for row in found.rows] == ["light"] * 3
    for row in found.rows:
        right = [n.shown.class_name for n in row.neighbours if n.is_right]
        assert right == ["light"] * 20


def test_pictures_that_cannot_be_read_are_left_out(
    copy: Change, pictures: Path, tmp_path: Path
) -> None:
    """All others stay in their places: each is shown as its file has it."""
    data = tmp_path / "pictures"
    shutil.copytree(pictures, data)
    for split in ("train", "val"):
        (data / split / "dark" / "1.png").write_bytes(b"")
    run = copy("hurt", {str(pictures): str(data)})
    found = search(run, num_queries=12, k=40)
    assert found.num_bank == 39
    assert len(found.rows) == 11
    bank_source, query_source = open_source(data / "train"), open_source(data / "val")
    for row in found.rows:
        assert_shown(row.query, query_source, data / "val")
        assert len(row.neighbours) == 39
        for neighbour in row.neighbours:
            assert_shown(neighbour.shown, bank_source, data / "train")


def test_a_picture_is_not_its_own_neighbour(copy: Change, pictures: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    for name in ("dark", "light"):
        (linked / name).mkdir(parents=True)
        for file in (pictures / "train" / name).iterdir():
            os.link(file, linked / name / file.name)
    run = copy("itself", {str(pictures / "val"): str(linked)})
    found = search(run, k=40 - 1)
    for row in found.rows:
        assert len(row.neighbours) == 39
        assert row.query.index not in {n.shown.index for n in row.neighbours}


def test_runs_are_asked_about_the_same_pictures(made: Path, copy: Change) -> None:
    """Whatever their seeds, of which kNN makes its own choice."""
    found = [
        search(run, num_queries=1, num_bank=10, k=10)
        for run in (made, copy("other", {"  seed: 0\n": "  seed: 7\n"}))
    ]
    (row, other) = (neighbours.rows[0] for neighbours in found)
    assert row.query.index == other.query.index
    banks = [{n.shown.index for n in one.neighbours} for one in (row, other)]
    assert banks[0] == banks[1]
    assert len(banks[0]) == 10


def test_queries_are_of_different_classes() -> None:
    indices = np.arange(100, 160)
    labels = np.repeat([0, 1, 2, 3, 4], [40, 5, 5, 5, 5])
    assert labels[choose_different(indices, labels, count=5)].tolist() == [0, 1, 2, 3, 4]
    assert labels[choose_different(indices, labels, count=7)].tolist().count(0) <= 2
    assert sorted(choose_different(indices, labels, count=100)) == list(range(60))


def test_neighbours_in_the_picture(made: Path) -> None:
    found = search(made, k=25)  # 20 of the bank are of the query's class
    assert 0 < found.num_right < found.num_shown
    figure = draw_report(read_runs([made]), {"run": found})
    rows = [axes for axes in figure.axes if axes.images]
    assert len(rows) == len(found.rows)
    for axes, row in zip(rows, found.rows, strict=True):
        shown = [row.query, *(n.shown for n in row.neighbours)]
        for image, picture in zip(axes.images, shown, strict=True):
            assert np.array_equal(image.get_array(), picture.pixels)
        green = [to_hex(patch.get_edgecolor()) == "#009e73" for patch in axes.patches]
        assert green == [False, *(n.is_right for n in row.neighbours)]
