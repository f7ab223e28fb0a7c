"""Folders of pictures: what is listed, in which order, under which label."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import Source, open_source


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    """(names…) → the root, in which each name is now a file that holds its own name."""

    def touch(*names: str | bytes) -> Path:
        for name in map(os.fsdecode, names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(name))
        return tmp_path

    return touch


def _keys(source: Source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def test_listing_is_sorted_by_class_and_path(touch: Callable[..., Path]) -> None:
    root = touch("b/2.jpg", "b/10.jpg", "a/x.png", "a-b/y.webp", "B/z.JPEG", "b/deep/er/1.jpg")
    source = open_source(root)
    assert source.classes == ("B", "a", "a-b", "b")
    assert _keys(source) == [
        "B/z.JPEG",
        "a/x.png",
        "a-b/y.webp",
        "b/10.jpg",
        "b/2.jpg",
        "b/deep/er/1.jpg",
    ]
    assert source.labels.tolist() == [0, 1, 2, 3, 3, 3]
    assert source.labels.dtype == np.int64
    assert [source.read(index).decode() for index in range(6)] == _keys(source)


def test_the_listing_does_not_depend_on_the_disks_order(
    touch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch("a/1.jpg", "a/2.jpg", "a/c/3.jpg", "b/4.jpg", "d/5.jpg")
    for name in ("link1", "link2", "link3"):
        (root / "a" / name).symlink_to(root / "a" / "c")
    expected = _keys(open_source(root))
    scandir = os.scandir

    class Backwards:
        def __init__(self, folder: str) -> None:
            self.entries = scandir(folder)

        def __enter__(self) -> list[os.DirEntry]:
            return list(self.entries)[::-1]

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Backwards)
    assert _keys(open_source(root)) == expected


def test_a_flat_folder_has_no_labels(touch: Callable[..., Path]) -> None:
    source = open_source(touch("2.jpg", "1.jpg", "notes.txt"))
    assert _keys(source) == ["1.jpg", "2.jpg"]
    assert source.classes == ()
    assert source.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "name",
    [
        "naïve café.jpg",
        "猫.jpg",
        b"latin \xe9.jpg",
        "a  b.jpg",
        "two\nlines.jpg",
        "-rf.jpg",
        "%s{}.jpg",
    ],
)
def test_any_name_can_be_read(touch: Callable[..., Path], name: str | bytes) -> None:
    inside = os.fsencode(name).replace(b".jpg", b"") + b"/" + os.fsencode(name)
    source = open_source(touch(inside, "zebra/1.jpg"))
    index = _keys(source).index(os.fsdecode(inside))
    assert source.read(index) == inside
    assert source.classes[source.labels[index]] == os.fsdecode(inside.split(b"/")[0])


def test_hidden_and_other_files_are_left_out(touch: Callable[..., Path]) -> None:
    root = touch(
        "a/1.jpg", "a/.2.jpg", ".b/3.jpg", "a/.c/4.jpg", "a/.jpg", "a/5.txt", "a/jpg", "6.csv"
    )
    (root / "empty").mkdir()
    (root / "a" / "folder.jpg").mkdir()
    source = open_source(root)
    assert _keys(source) == ["a/1.jpg"]
    assert source.classes == ("a",)


def test_special_files_are_left_out(touch: Callable[..., Path]) -> None:
    """A FIFO would block its reader for ever."""
    root = touch("a/1.jpg")
    os.mkfifo(root / "a" / "0.jpg")
    os.mkfifo(root / "2.jpg")
    (root / "a" / "3.jpg").symlink_to(root / "a" / "0.jpg")
    assert _keys(open_source(root)) == ["a/1.jpg"]


def test_files_that_cannot_be_read_are_bad_samples(touch: Callable[..., Path]) -> None:
    root = touch("a/1.jpg", "a/2.jpg")
    source = open_source(root)
    (root / "a" / "1.jpg").unlink()
    with pytest.raises(BadSampleError, match="No such file"):
        source.read(0)
    (root / "a" / "1.jpg").mkdir()
    with pytest.raises(BadSampleError, match="cannot be read"):
        source.read(0)
    assert source.read(1) == b"a/2.jpg"


def test_pickling(touch: Callable[..., Path]) -> None:
    source = open_source(touch("a/1.jpg", "a/2.jpg", b"b/\xff.jpg"))
    copy = pickle.loads(pickle.dumps(source))
    assert _keys(copy) == _keys(source)
    assert copy.classes == source.classes
    assert np.array_equal(copy.labels, source.labels)
    assert copy.read(2) == b"b/\xff.jpg"


def test_pictures_beside_class_folders_are_refused(touch: Callable[..., Path]) -> None:
    root = touch("1.jpg", "2.jpg", "a/3.jpg")
    with pytest.raises(UserError) as caught:
        open_source(root, field="data.val_path")
    assert str(caught.value) == (
        f"data.val_path={root}: 2 pictures lie beside 1 class folders; move them into a class "
        "folder or away"
    )
    # An empty folder beside them is not one of classes.
    (root / "a" / "3.jpg").unlink()
    assert _keys(open_source(root)) == ["1.jpg", "2.jpg"]


def test_nothing_to_read_is_the_users_mistake(touch: Callable[..., Path]) -> None:
    root = touch("a/1.txt", "2.csv")
    with pytest.raises(UserError, match=r"data\.path=.*: no pictures .*, 2 other files; give"):
        open_source(root)
    with pytest.raises(UserError, match=r"data\.path=.*/none: there is no such"):
        open_source(root / "none")
    with pytest.raises(UserError, match=r"data\.path=.*2\.csv: no data set that is known"):
        open_source(root / "2.csv")


def test_home_is_expanded(touch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(touch("data/a/1.jpg")))
    assert open_source("~/data").read(0) == b"data/a/1.jpg"
