"""Links in a folder of pictures: kept inside the root, left out where they leave it, no circles."""

from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of one picture each, and beside the root what must not be read."""
    for name in ("data/cat/1.jpg", "data/dog/2.jpg", "outside/3.jpg", "data-more/4.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    return tmp_path / "data"


def _keys(root: Path) -> list[str]:
    source = open_source(root)
    return [source.key(index) for index in range(len(source))]


def test_links_inside_are_kept(root: Path) -> None:
    (root / "cat" / "again.jpg").symlink_to("1.jpg")
    (root / "cat" / "dogs").symlink_to(root / "dog")
    (root / "hound").symlink_to("dog")
    source = open_source(root)
    assert _keys(root) == [
        "cat/1.jpg",
        "cat/again.jpg",
        "cat/dogs/2.jpg",
        "dog/2.jpg",
        "hound/2.jpg",
    ]
    assert [source.classes[label] for label in source.labels] == [
        "cat", "cat", "cat", "dog", "hound",
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["../../outside", "../../data-more", "/"])
def test_folders_outside_are_left_out(root: Path, target: str) -> None:
    (root / "cat" / "link").symlink_to(target)
    (root / "linked_class").symlink_to((root / "cat" / target).resolve())
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg"]


def test_files_outside_are_left_out(root: Path) -> None:
    (root / "cat" / "3.jpg").symlink_to("../../outside/3.jpg")
    (root / "cat" / "chained.jpg").symlink_to("3.jpg")
    (root / "3.jpg").symlink_to("../outside/3.jpg")
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg"]


def test_a_link_to_a_folder_whose_name_begins_alike_is_no_circle(root: Path) -> None:
    (root / "dog" / "x").mkdir()
    (root / "dog" / "x" / "9.jpg").write_bytes(b"")
    (root / "dog" / "xy").mkdir()
    (root / "dog" / "xy" / "link").symlink_to("../x")
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg", "dog/x/9.jpg", "dog/xy/link/9.jpg"]


def test_circles_end(root: Path) -> None:
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "self").symlink_to("self")
    (root / "self").symlink_to("self")
    (root / "cat" / "a").mkdir()
    (root / "cat" / "b").mkdir()
    (root / "cat" / "a" / "to_b").symlink_to("../b")
    (root / "cat" / "b" / "to_a").symlink_to("../a")
    (root / "cat" / "a" / "5.jpg").write_bytes(b"")
    keys = _keys(root)
    assert {"cat/1.jpg", "cat/a/5.jpg", "dog/2.jpg"} <= set(keys)
    assert len(keys) < 6


def test_broken_links_are_left_out(root: Path) -> None:
    (root / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "gone").symlink_to("nowhere")
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg"]


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    (root / "cat" / "dogs").symlink_to("../dog")
    assert _keys(tmp_path / "link") == ["cat/1.jpg", "cat/dogs/2.jpg", "dog/2.jpg"]


def test_the_message_counts_the_links(root: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (root / name).unlink()
        (root / name).symlink_to(root.parent / "outside" / "3.jpg")
    with pytest.raises(UserError, match="2 links that lead nowhere, out of it"):
        open_source(root)
