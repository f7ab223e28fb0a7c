"""Folders and paths that cannot be a data set: each is told in one line, with what to do."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source


def touch(root: Path, *names: str) -> Path:
    """Empty files of these names below a root."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def mistake(path: str | Path, *, field: str = "data.path") -> str:
    """The message of the error that opening a path raises: one line."""
    with pytest.raises(UserError) as caught:
        open_source(path, field=field)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 800
    return message


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("data.path", "data.path={0}/train data.val_path={0}/val"),
        ("data.val_path", "data.val_path={0}/val"),
        ("DATA", "DATA={0}/train"),
    ],
)
def test_a_folder_of_parts_is_no_folder_of_classes(tmp_path: Path, field: str, remedy: str) -> None:
    root = touch(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "val/dog/4.jpg")
    assert mistake(root, field=field) == (
        f"{field}={root}: holds train/ and val/ with the class folders inside; "
        f"give {remedy.format(root)}"
    )


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (["Training", "Testing"], "data.path={0}/Training data.val_path={0}/Testing"),
        (["train", "validation", "test"], "data.path={0}/train data.val_path={0}/validation"),
        (["TRAIN"], "data.path={0}/TRAIN"),
        (["valid", "test"], "data.path={0}/valid"),
    ],
)
def test_parts_are_known_by_any_usual_name(tmp_path: Path, names: list[str], remedy: str) -> None:
    root = touch(tmp_path, *(f"{name}/cat/1.jpg" for name in names), "labels/names.txt")
    assert mistake(root).endswith(f"; give {remedy.format(root)}")


def test_an_unlabelled_part_beside_a_labelled_one(tmp_path: Path) -> None:
    """ImageNet's test pictures lie in one folder; a picture beside the parts changes nothing."""
    root = touch(tmp_path, "train/cat/1.jpg", "test/2.jpg", "preview.png")
    assert "holds test/ and train/" in mistake(root)


@pytest.mark.parametrize(
    "names",
    [
        ["train/1.jpg", "car/2.jpg"],
        ["train/1.jpg", "test/2.jpg"],
        ["train/steam/1.jpg", "car/old/2.jpg"],
        ["train/1.jpg", "val/notes/2.txt"],
    ],
)
def test_a_class_may_be_called_train(tmp_path: Path, names: list[str]) -> None:
    source = open_source(touch(tmp_path, *names))
    assert source.classes == tuple(
        sorted(name.split("/")[0] for name in names if name.endswith(".jpg"))
    )


@pytest.fixture
def fail_listing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, OSError], None]:
    """(folder, error) → from now on, listing this folder fails so, also for root."""

    def fail_listing(folder: Path, error: OSError) -> None:
        scandir = os.scandir

        def scan(path: str) -> object:
            if Path(path) == folder:
                raise error
            return scandir(path)

        monkeypatch.setattr(os, "scandir", scan)

    return fail_listing


@pytest.mark.parametrize("folder", ["cat", "cat/deep/er", "linked"])
def test_a_folder_that_may_not_be_listed_is_named(
    tmp_path: Path, fail_listing: Callable[[Path, OSError], None], folder: str
) -> None:
    root = touch(tmp_path / "root", "cat/deep/er/1.jpg", "dog/2.jpg")
    (root / "linked").symlink_to(touch(tmp_path / "outside", "3.jpg"))
    fail_listing(root / folder, PermissionError(13, "Permission denied"))
    assert mistake(root) == (
        f"data.path={root}: its folder {folder} cannot be listed (Permission denied); make it "
        "readable (chmod u+rx) or move it away"
    )


def test_the_root_that_may_not_be_listed(
    tmp_path: Path, fail_listing: Callable[[Path, OSError], None]
) -> None:
    fail_listing(tmp_path, PermissionError(13, "Permission denied"))
    assert f"data.path={tmp_path}: cannot be listed (Permission denied)" in mistake(tmp_path)


def test_a_folder_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    scandir = os.scandir

    def scan(path: str) -> object:
        entries = scandir(path)
        if path == f"{root}/cat":
            (root / "dog" / "2.jpg").unlink()
            (root / "dog").rmdir()
        return entries

    monkeypatch.setattr(os, "scandir", scan)
    message = mistake(root)
    assert "its folder dog cannot be listed (No such file or directory); start again" in message


def test_a_folder_whose_name_breaks_the_line(
    tmp_path: Path, fail_listing: Callable[[Path, OSError], None]
) -> None:
    root = touch(tmp_path / "two\nlines", "cat\n/1.jpg")
    fail_listing(root / "cat\n", PermissionError(13, "Permission denied"))
    assert r"its folder 'cat\n' cannot" in mistake(root)


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "chain").symlink_to("link")
    for name in ("link", "chain"):
        assert mistake(tmp_path / name) == (
            f"data.path={tmp_path / name}: a link to {tmp_path}/gone, where nothing is; mend the "
            "link, or give the folder itself"
        )


def test_a_link_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path / "a", tmp_path / "a" / "below"):
        assert mistake(path).startswith(f"data.path={path}: a link that leads round in a circle; ")


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.beton")
    for path in (tmp_path / "pipe.beton", Path("/dev/null")):
        message = mistake(path, field="data.val_path")
        assert message.startswith(f"data.val_path={path}: neither a folder nor a file")
        assert message.endswith(
            "give a folder of class folders, or a file (.beton, .tar, .parquet)"
        )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.tar.gz", r"a compressed archive, in which .*; decompress it \(gunzip"),
        ("a.ZIP", r"not a folder but an archive; unpack it"),
        ("a.jpg", r"not a folder but a single picture; give the folder that holds"),
        (
            "a.csv",
            r"no data set that is known; give a folder of class folders, a \.beton, \.tar or ",
        ),
        ("a", r"no data set that is known; give a folder of class folders, a \.beton, \.tar or "),
        ("a.beton", r"cannot be read|damaged|empty"),
    ],
)
def test_a_file_that_is_no_data_set(tmp_path: Path, name: str, told: str) -> None:
    path = touch(tmp_path, name) / name
    message = mistake(path)
    assert message.startswith(f"data.path={path}: ")
    assert re.search(told, message)


def test_paths_that_no_machine_has(tmp_path: Path) -> None:
    assert "nul\\x00': " in mistake(f"{tmp_path}/nul\0")
    assert "a NUL byte" in mistake(f"{tmp_path}/nul\0")
    assert "a path too long" in mistake(tmp_path / ("x" * 300))
    assert "a path too long" in mistake("/".join(["x" * 200] * 40))
    assert "there is no such user's home" in mistake("~nobody-of-this-name/data")
    assert "there is no such file or folder" in mistake(touch(tmp_path, "1.jpg") / "1.jpg" / "x")


@pytest.mark.parametrize("path", ["/proc", "/proc/self/fd", "/sys", "/dev"])
def test_folders_of_the_system(path: str) -> None:
    assert "a folder of the system; give a folder of class folders" in mistake(path)


def test_a_path_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert "cannot be reached (Permission denied); make it readable" in mistake(tmp_path)
