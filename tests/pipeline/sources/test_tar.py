"""Tar archives: what is listed in which order, under which label, and read in place."""

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.engines.ffcv.feeds import ShardFeed, build_feed
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import Source, open_source, recognise

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}

Pack = Callable[..., Path]


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    """A member; fields are those of `TarInfo`."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


def pack_bytes(*names: str, format: str = "gnu") -> bytes:
    """An archive in which each file holds its own name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[format]) as archive:
        for name in names:
            add(archive, name, name.encode("utf-8", "surrogateescape"))
    return buffer.getvalue()


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """(names…, to="x.tar", format="gnu") → path of an archive of such files."""

    def pack(*names: str, to: str = "x.tar", format: str = "gnu") -> Path:
        path = tmp_path / to
        path.write_bytes(pack_bytes(*names, format=format))
        return path

    return pack


def keys_of(source: Source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def contents_of(source: Source) -> list[str]:
    return [os.fsdecode(source.read(index)) for index in range(len(source))]


@pytest.mark.parametrize("format", FORMATS)
def test_the_listing_is_that_of_the_folder(tmp_path: Path, pack: Pack, format: str) -> None:
    long = "/".join(["a-b", *["deep" * 7] * 4, "1.jpg"])
    names = ["b/2.jpg", "b/10.jpg", "a/x.png", long, "B/z.JPEG", "b/deep/1.jpg", "ä/ö.jpg"]
    names += ["b/.hidden.jpg", "b/.git/1.jpg", "b/.git/2.jpg", "a/1.txt", "empty/1.csv"]
    names += ["a/a.heic"]
    path = pack(*names, format=format)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "folder", filter="data")
    source, folder = open_source(path), open_source(tmp_path / "folder")
    assert source.format == recognise(path) == "tar"
    assert keys_of(source) == keys_of(folder) == contents_of(source)
    assert source.classes == folder.classes == ("B", "a", "a-b", "b", "ä")
    assert source.labels.tolist() == folder.labels.tolist()
    assert source.labels.dtype == np.int64
    assert source.left_out == folder.left_out
    assert source.digest == folder.digest
    assert [source.peek(at, 3) for at in range(7)] == [folder.peek(at, 3) for at in range(7)]


def test_an_archive_of_archives(tmp_path: Path) -> None:
    path = tmp_path / "ILSVRC2012_img_train.tar"
    with tarfile.open(path, "w") as archive:
        for wnid in ("n02", "n01"):
            add(archive, f"{wnid}.tar", pack_bytes(f"{wnid}_9.JPEG", f"{wnid}_10.JPEG"))
    source = open_source(path)
    assert source.classes == ("n01", "n02")
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert keys_of(source) == [
        "n01/n01_10.JPEG",
        "n01/n01_9.JPEG",
        "n02/n02_10.JPEG",
        "n02/n02_9.JPEG",
    ]
    assert contents_of(source) == ["n01_10.JPEG", "n01_9.JPEG", "n02_10.JPEG", "n02_9.JPEG"]


def test_same_batches_as_the_folder(tmp_path: Path, class_folder: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(class_folder, arcname=".")
    specs = build_train_specs(AugmentConfig(size=32))
    settings = {"specs": specs, "global_batch_size": 5, "train": True, "seed": 1}
    with (
        build_loader(engine="torchvision", source=open_source(path), **settings) as ours,
        build_loader(engine="torchvision", source=open_source(class_folder), **settings) as theirs,
    ):
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine.index, other.index)
            assert torch.equal(mine.label, other.label)
            assert all(map(torch.equal, mine.views, other.views))


def test_pickled_it_is_mapped_again(pack: Pack) -> None:
    path = pack("a/1.jpg", "b/2.jpg")
    source = open_source(path)
    stored = pickle.dumps(source)
    again = pickle.loads(stored)
    assert contents_of(again) == contents_of(source)
    assert (again.digest, again.left_out, again.classes) == (source.digest, (), ("a", "b"))
    assert again.place(1) == source.place(1)
    for content in (b"", path.read_bytes()[:-1], path.read_bytes() + b"\0"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="has changed since it was opened; start again"):
            pickle.loads(stored)


def test_native_code_reads_the_mapped_file(pack: Pack) -> None:
    source = open_source(pack("a/1.jpg", "b/2.jpg"))
    assert isinstance(build_feed(source), ShardFeed)
    files, offsets, lengths, is_cut = source.extents(np.array([1, -2]))
    (data,) = source.data
    for number, start, length in zip(files, offsets, lengths, strict=True):
        assert number == 0
        assert data[start : start + length].tobytes() in (b"a/1.jpg", b"b/2.jpg")
    assert not is_cut.any()
    assert not data.flags.writeable
