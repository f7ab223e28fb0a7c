"""Data sets of torchvision as they are read: by engines, in other processes, by convert."""

import multiprocessing
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.convert.command import main
from swiftsiam.pipeline.convert.verify_command import main as verify
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.torchvision_sets import TorchvisionSource
from torchvision import datasets

SPECS = build_train_specs(AugmentConfig(size=32))
SETTINGS = {"specs": SPECS, "global_batch_size": 5, "train": True, "seed": 1}
BLACK = Image.new("RGB", (48, 40))
FAKE = "torchvision:FakeData,size=11,image_size=3,40,48"
ENGINES = ["torchvision", pytest.param("ffcv", marks=pytest.mark.engine("ffcv"))]


def same_batches(engine: str, first: object, second: object) -> bool:
    with (
        build_loader(engine=engine, source=open_source(first), **SETTINGS) as ours,
        build_loader(engine=engine, source=open_source(second), **SETTINGS) as theirs,
    ):
        return all(
            torch.equal(mine.index, other.index)
            and torch.equal(mine.label, other.label)
            and all(map(torch.equal, mine.views, other.views))
            for mine, other in zip(ours, theirs, strict=True)
        )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_same_batches_as_the_folder(engine: str, class_folder: Path, tmp_path: Path) -> None:
    assert same_batches(engine, f"torchvision:ImageFolder,root={class_folder}", class_folder)
    (tmp_path / "only").mkdir()
    for number, (picture, _) in enumerate(datasets.FakeData(11, (3, 40, 48), 1)):
        picture.save(tmp_path / f"only/{number:02}.png")
    assert same_batches(engine, f"{FAKE},num_classes=1", tmp_path)
    assert not same_batches(engine, f"{FAKE},num_classes=1,random_offset=1", tmp_path)


def test_the_workers_of_a_loader_read_it() -> None:
    settings = SETTINGS | {"engine": "torchvision"}
    source = open_source(FAKE)
    with (
        build_loader(source=source, num_workers=2, **settings) as ours,
        build_loader(source=source, **settings) as theirs,
    ):
        for mine, other in zip(ours, theirs, strict=True):
            assert all(map(torch.equal, mine.views, other.views))


@pytest.mark.slow
def test_another_process_reads_the_same(class_folder: Path) -> None:
    sources = [open_source(f"torchvision:ImageFolder,root={class_folder}"), open_source(FAKE)]
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        for source in sources:
            assert len(pickle.dumps(source)) < 2000
            assert pool.apply(TorchvisionSource.read, (source, 7)) == source.read(7)


def test_pickled_it_is_the_same_and_files_are_not_listed_again(
    class_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (f"torchvision:ImageFolder,root={class_folder}", FAKE):
        source = open_source(text)
        again = pickle.loads(pickle.dumps(source))
        assert (again.digest, again.classes) == (source.digest, source.classes)
        assert again.labels.tolist() == source.labels.tolist()
        for index in range(len(source)):
            assert again.key(index) == source.key(index)
            assert again.place(index) == source.place(index)
            assert again.read(index) == source.read(index)
    stored = pickle.dumps(open_source(f"torchvision:ImageFolder,root={class_folder}"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    assert pickle.loads(stored).read(3)[:2] == b"\xff\xd8"


def test_a_changed_set_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(FAKE)
    monkeypatch.setattr(datasets.FakeData, "__len__", lambda self: 10)
    with pytest.raises(UserError, match=r"FakeData,.*: has changed since it was opened"):
        pickle.loads(pickle.dumps(source)).read(0)
    monkeypatch.undo()
    again = pickle.loads(pickle.dumps(source))
    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda self, index: (BLACK, 0))
    with pytest.raises(UserError, match="has changed since it was opened"):
        again.read(0)


def test_digest_and_place_tell_sets_apart(
    class_folder: Path, fill_folder: Callable[..., Path], tmp_path: Path
) -> None:
    first, again, more, other = (
        open_source(text)
        for text in (
            FAKE,
            f"{FAKE},num_classes=10,random_offset=0",
            FAKE.replace("11", "12"),
            f"{FAKE},random_offset=50",
        )
    )
    assert first.digest == again.digest
    assert len({source.digest for source in (first, more, other)}) == 3
    assert first.place(3) == again.place(3)
    assert len({source.place(i) for source in (first, other) for i in range(11)}) == 22
    copy = fill_folder(tmp_path / "a", {"ant": 3, "bee": 2})
    moved = copy.rename(tmp_path / "b")
    digest = open_source(f"torchvision:ImageFolder,root={moved}").digest
    moved.rename(copy)
    assert open_source(f"torchvision:ImageFolder,root={copy}").digest == digest
    (copy / "ant/000.jpg").rename(copy / "ant/x.jpg")
    assert open_source(f"torchvision:ImageFolder,root={copy}").digest != digest


@pytest.mark.slow
@pytest.mark.parametrize("text", [FAKE, "torchvision:ImageFolder,root={}"])
def test_converted_to_a_beton_and_back(
    text: str, class_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text.format(class_folder)
    target = tmp_path / "x.beton"
    assert main([text, str(target), "--to=beton", "--workers=2"]) == 0
    assert verify([str(target), f"--source={text}", "--decode"]) == 0
    source, beton = open_source(text), open_source(target)
    assert (beton.classes, beton.labels.tolist()) == (source.classes, source.labels.tolist())
    for index in range(len(source)):
        assert np.array_equal(decode_rgb(beton.read(index)), decode_rgb(source.read(index)))
        if "Folder" in text:
            assert beton.read(index) == source.read(index)
    with pytest.raises(UserError, match="lies in SRC"):
        main([f"torchvision:ImageFolder,root={tmp_path}", str(tmp_path / "y.beton"), "--to=beton"])
    other = f"{FAKE},random_offset=3"
    assert verify([str(target), f"--source={other}"]) == 1
