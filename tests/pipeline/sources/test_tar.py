"""Tar archives: what is listed in which order, under which label, and read in place."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
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


def test_a_flat_archive_has_no_labels(pack: Pack) -> None:
    source = open_source(pack("./2.jpg", "10.png", ".hidden.jpg", "1.txt"))
    assert keys_of(source) == ["10.png", "2.jpg"]
    assert source.classes == ()
    assert source.labels.tolist() == [-1, -1]
    assert source.left_out == (("hidden files and folders", 1), ("other files", 1))


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        (["data/cat/1.jpg", "data/dog/x/2.jpg"], ("cat", "dog"), [0, 1]),
        (
            ["./a/b/cat/1.jpg", "a//b/dog/2.jpg", "a/notes.txt", "c/d/e/f.txt"],
            ("cat", "dog"),
            [0, 1],
        ),
        (["train/cat/1.jpg"], ("cat",), [0]),
        (["cat/1.jpg"], ("cat",), [0]),
        (["cat/1.jpg", "cat/old/2.jpg"], ("cat",), [0, 0]),
        (["train/1.jpg", "test/2.jpg"], ("test", "train"), [0, 1]),
    ],
)
def test_a_folder_around_the_class_folders_is_no_class(
    pack: Pack, names: list[str], classes: tuple[str, ...], labels: list[int]
) -> None:
    source = open_source(pack(*names))
    assert source.classes == classes
    assert source.labels.tolist() == labels
    assert not any("class folders" in reason for reason, _ in source.left_out)
    assert sorted(contents_of(source)) == sorted(name for name in names if "txt" not in name)


def test_an_archive_in_the_archive_stands_for_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "train/dog.TAR", pack_bytes("./big/1.jpg", "2.jpg", "deep.tar", "._2.jpg"))
        add(archive, "train/cat/3.jpg", b"3")
        add(archive, "train/empty.tar", pack_bytes())
        add(archive, "train/._dog.tar", b"no archive")
    source = open_source(path)
    assert source.classes == ("cat", "dog")
    assert keys_of(source) == ["train/cat/3.jpg", "train/dog/2.jpg", "train/dog/big/1.jpg"]
    assert contents_of(source) == ["3", "2.jpg", "./big/1.jpg"]
    assert source.left_out == (
        ("class folders without a picture", 1),
        ("hidden files and folders", 2),
        ("other files", 1),
    )


def test_what_is_no_file_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a/1.jpg", b"1")
        add(archive, "a/2.jpg", type=tarfile.SYMTYPE, linkname="1.jpg")
        add(archive, "a/3.jpg", type=tarfile.LNKTYPE, linkname="a/1.jpg")
        add(archive, "a/long.jpg", type=tarfile.SYMTYPE, linkname="x" * 300)
        for number, kind in enumerate((tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)):
            add(archive, f"a/special{number}.jpg", type=kind)
        for name in ("/etc/4.jpg", "../5.jpg", "a/../6.jpg", "a/..", "/7.jpg"):
            add(archive, name, b"no")
        add(archive, "a/8.jpg", b"unknown", type=b"Z")
        add(archive, "a/9.jpg.gz", b"\x1f\x8b")
        add(archive, "a/10.jpg", b"10")
    source = open_source(path)
    assert contents_of(source) == ["1", "10"]
    assert source.left_out == (
        ("compressed files in the archive (decompress them if pictures are in them)", 1),
        ("links (in an archive they are not followed)", 3),
        ("members of a kind that is not known", 1),
        ("members whose names are absolute, lead upwards (..) or are empty", 5),
        ("special files (pipes, sockets, devices)", 3),
    )


def test_the_later_of_one_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a/1.jpg", b"first")
        add(archive, "a/2.jpg", b"other")
        add(archive, "./a/1.jpg", b"second")
    source = open_source(path)
    assert contents_of(source) == ["second", "other"]
    assert source.left_out == (("members that a later one of the same name replaces", 1),)


def test_files_of_unknown_extension_are_told_by_their_content(
    tmp_path: Path, class_folder: Path
) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(class_folder / "ant" / "000.jpg", arcname="a/n01_1")
        add(archive, "a/readme", b"text")
    source = open_source(path)
    assert keys_of(source) == ["a/n01_1"]
    assert source.left_out == (("other files", 1),)


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_sizes_and_offsets_beyond_four_gigabytes(tmp_path: Path, format: str) -> None:
    """GNU tar writes sizes from 8 GiB in base 256; the file here is a hole."""
    path = tmp_path / "x.tar"
    size = 9 << 30
    member = tarfile.TarInfo("a/large.jpg")
    member.size = size
    with path.open("wb") as file:
        file.write(member.tobuf(FORMATS[format]))
        file.seek(size, os.SEEK_CUR)
        file.write(pack_bytes("a/1.jpg"))
    source = open_source(path)
    assert contents_of(source) == ["a/1.jpg"]
    assert source.place(0)[2] > size
    assert source.left_out == (("pictures of 4 GiB or more", 1),)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a/\xff\xfe.jpg")
    path = tmp_path / "x.tar"
    path.write_bytes(pack_bytes(name, format="gnu"))
    source = open_source(path)
    assert keys_of(source) == [name]
    assert source.read(0) == b"a/\xff\xfe.jpg"


def test_an_empty_picture_is_a_bad_sample_not_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a/1.jpg")
    source = open_source(path)
    assert source.read(0) == b""
    assert source.peek(0, 8) == (0, b"", b"")
    assert source.extents(np.array([0]))[3].tolist() == [True]


def test_an_archive_is_known_by_its_content(pack: Pack) -> None:
    assert recognise(pack("a/1.jpg", to="imagenet")) == "tar"
    assert recognise(pack("a/1.jpg", to="x.TAR")) == "tar"
