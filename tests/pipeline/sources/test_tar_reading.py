"""Tar archives as they are read: by every engine, in other processes, by native code."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.engines.ffcv.feeds import ShardFeed, build_feed
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source

SPECS = build_train_specs(AugmentConfig(size=32))
SETTINGS = {"specs": SPECS, "global_batch_size": 5, "train": True, "seed": 1}


@pytest.fixture
def packed(tmp_path: Path, class_folder: Path) -> Path:
    """The class folder as an archive."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(class_folder, arcname=".")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", ["torchvision", pytest.param("ffcv", marks=pytest.mark.engine("ffcv"))]
)
def test_same_batches_as_the_folder(packed: Path, class_folder: Path, engine: str) -> None:
    with (
        build_loader(engine=engine, source=open_source(packed), **SETTINGS) as ours,
        build_loader(engine=engine, source=open_source(class_folder), **SETTINGS) as theirs,
    ):
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine.index, other.index)
            assert torch.equal(mine.label, other.label)
            assert all(map(torch.equal, mine.views, other.views))


@pytest.mark.engine("ffcv")
def test_an_empty_picture_is_named(packed: Path) -> None:
    with tarfile.open(packed, "a") as archive:
        archive.addfile(tarfile.TarInfo("bee/999.jpg"), io.BytesIO())
    source = open_source(packed)
    assert len(source) == 24
    settings = SETTINGS | {"global_batch_size": 24}
    with (
        build_loader(engine="ffcv", source=source, **settings) as loader,
        pytest.raises(UserError, match=r"^bee/999\.jpg: the file is empty"),
    ):
        list(loader)


def test_native_code_reads_the_mapped_file(packed: Path) -> None:
    source = open_source(packed)
    assert isinstance(build_feed(source), ShardFeed)
    indices = np.array([3, 22, -2])
    files, offsets, lengths, is_cut = source.extents(indices)
    (data,) = source.data
    for index, start, length in zip(indices % 23, offsets, lengths, strict=True):
        assert data[start : start + length].tobytes() == source.read(index)
    assert not files.any()
    assert not is_cut.any()
    assert not data.flags.writeable


def test_pickled_it_is_mapped_again(packed: Path) -> None:
    source = open_source(packed)
    again = pickle.loads(pickle.dumps(source))
    assert again.digest == source.digest
    assert again.classes == source.classes
    assert again.labels.tolist() == source.labels.tolist()
    for index in range(len(source)):
        assert again.key(index) == source.key(index)
        assert again.read(index) == source.read(index)
        assert again.place(index) == source.place(index)


def test_pickled_it_is_not_listed_again(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = pickle.dumps(open_source(packed))
    monkeypatch.delattr(os, "pread")
    assert len(pickle.loads(stored)) == 23


@pytest.mark.parametrize("change", ["emptied", "cut", "longer", "written", "replaced", "removed"])
def test_pickled_it_must_not_change(packed: Path, change: str) -> None:
    stored = pickle.dumps(open_source(packed))
    content = packed.read_bytes()
    if change in ("replaced", "removed"):
        packed.rename(packed.with_name("other"))
    if change != "removed":
        changed = {"emptied": b"", "cut": content[:-512], "longer": content + bytes(512)}
        packed.write_bytes(changed.get(change, content))
    os.utime(packed if change != "removed" else packed.with_name("other"), ns=(0, 0))
    told = "cannot be read" if change == "removed" else "has changed since it was opened; start"
    with pytest.raises(UserError, match=told):
        pickle.loads(stored)
