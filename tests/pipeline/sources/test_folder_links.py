"""Links in a folder of pictures: followed, also out of the root; circles end; all are counted."""

import os
import socket
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of one picture each, and beside the root what only links lead to."""
    for name in ("data/cat/1.jpg", "data/dog/2.jpg", "outside/3.jpg", "data-more/4.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
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
    assert source.left_out == ()


@pytest.mark.parametrize("target", ["../../outside", "../../data-more"])
def test_folders_outside_are_followed(root: Path, target: str) -> None:
    (root / "cat" / "link").symlink_to(target)
    (root / "linked_class").symlink_to((root / "cat" / target).resolve())
    name = "3.jpg" if target.endswith("outside") else "4.jpg"
    assert _keys(root) == ["cat/1.jpg", f"cat/link/{name}", "dog/2.jpg", f"linked_class/{name}"]
    source = open_source(root)
    assert source.read(1) == f"{Path(target).name}/{name}".encode()
    assert source.classes == ("cat", "dog", "linked_class")
    assert source.left_out == ()


def test_a_subset_of_links_alone_is_whole(tmp_path: Path) -> None:
    """ImageNet-100 is made so: a hundred links to class folders of the whole."""
    for name in ("a", "b", "c"):
        for number in range(4):
            path = tmp_path / "whole" / name / f"{number}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    subset = tmp_path / "subset"
    subset.mkdir()
    for name in ("a", "c"):
        (subset / name).symlink_to(tmp_path / "whole" / name)
    source = open_source(subset)
    assert source.classes == ("a", "c")
    assert source.labels.tolist() == [0] * 4 + [1] * 4
    assert source.left_out == ()


def test_files_outside_are_followed(root: Path) -> None:
    (root / "cat" / "3.jpg").symlink_to("../../outside/3.jpg")
    (root / "cat" / "chained.jpg").symlink_to("3.jpg")
    assert _keys(root) == ["cat/1.jpg", "cat/3.jpg", "cat/chained.jpg", "dog/2.jpg"]
    assert open_source(root).read(2) == b"outside/3.jpg"


def test_a_folder_linked_from_two_classes_is_in_both(root: Path) -> None:
    for name in ("cat/more", "dog/more", "wolf", "fox"):
        (root / name).symlink_to(root.parent / "outside")
    assert _keys(root) == [
        "cat/1.jpg",
        "cat/more/3.jpg",
        "dog/2.jpg",
        "dog/more/3.jpg",
        "fox/3.jpg",
        "wolf/3.jpg",
    ]
    assert open_source(root).left_out == ()


def test_a_folder_linked_twice_from_one_class_is_in_it_once(root: Path) -> None:
    (root / "cat" / "x").symlink_to(root.parent / "outside")
    (root / "cat" / "y").symlink_to(root.parent / "outside")
    assert _keys(root) == ["cat/1.jpg", "cat/x/3.jpg", "dog/2.jpg"]
    assert open_source(root).left_out == (
        ("links to a folder that another link of the same class leads to", 1),
    )


def test_links_that_double_at_each_level_end(root: Path) -> None:
    for level in range(30):
        folder = root.parent / "levels" / str(level)
        folder.mkdir(parents=True)
        (folder / "a").symlink_to(f"../{level + 1}")
        (folder / "b").symlink_to(f"../{level + 1}")
    (root.parent / "levels" / "30").mkdir()
    (root.parent / "levels" / "30" / "5.jpg").write_bytes(b"")
    (root / "deep").symlink_to(root.parent / "levels" / "0")
    source = open_source(root)
    assert len(source) == 3
    assert source.left_out[0][1] == 30


def test_a_link_to_a_folder_whose_name_begins_alike_is_no_circle(root: Path) -> None:
    (root / "dog" / "x").mkdir()
    (root / "dog" / "x" / "9.jpg").write_bytes(b"")
    (root / "dog" / "xy").mkdir()
    (root / "dog" / "xy" / "link").symlink_to("../x")
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg", "dog/x/9.jpg", "dog/xy/link/9.jpg"]


def test_circles_end(root: Path) -> None:
    (root / "cat" / "up").symlink_to("..")
    (root / "cat" / "top").symlink_to("/")
    (root / "cat" / "self").symlink_to("self")
    (root / "self").symlink_to("self")
    (root / "above").symlink_to("../..")
    (root / "cat" / "a").mkdir()
    (root / "cat" / "b").mkdir()
    (root / "cat" / "a" / "to_b").symlink_to("../b")
    (root / "cat" / "b" / "to_a").symlink_to("../a")
    (root / "cat" / "a" / "5.jpg").write_bytes(b"")
    assert _keys(root) == ["cat/1.jpg", "cat/a/5.jpg", "cat/b/to_a/5.jpg", "dog/2.jpg"]
    assert open_source(root).left_out == (("links that lead back to a folder above them", 7),)


def test_a_circle_outside_ends(root: Path) -> None:
    (root / "cat" / "out").symlink_to("../../outside")
    (root.parent / "outside" / "more").symlink_to("../data-more")
    (root.parent / "data-more" / "back").symlink_to("../outside")
    (root.parent / "data-more" / "home").symlink_to("../data/cat")
    assert _keys(root) == ["cat/1.jpg", "cat/out/3.jpg", "cat/out/more/4.jpg", "dog/2.jpg"]
    assert open_source(root).left_out == (("links that lead back to a folder above them", 2),)


def test_classes_that_link_to_each_other(root: Path) -> None:
    (root / "cat" / "dogs").symlink_to("../dog")
    (root / "dog" / "cats").symlink_to("../cat")
    assert _keys(root) == ["cat/1.jpg", "cat/dogs/2.jpg", "dog/2.jpg", "dog/cats/1.jpg"]
    assert open_source(root).left_out == (("links that lead back to a folder above them", 2),)


def test_broken_links_are_counted(root: Path) -> None:
    (root / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "cat" / "through.jpg").symlink_to("1.jpg/x")
    (root / "gone").symlink_to("nowhere")
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg"]
    assert open_source(root).left_out == (("links that lead nowhere", 3),)


def test_special_files_are_refused_and_counted(root: Path) -> None:
    os.mkfifo(root / "cat" / "pipe.jpg")
    os.mkfifo(root.parent / "outside" / "pipe.jpg")
    (root / "cat" / "linked.jpg").symlink_to(root.parent / "outside" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        try:
            os.chdir(root / "dog")  # a socket's path may have only some hundred bytes
            server.bind("s.jpg")
        finally:
            os.chdir(here)
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg"]
    assert open_source(root).left_out == (("special files (pipes, sockets, devices)", 3),)


def test_the_system_is_refused_and_counted(root: Path) -> None:
    for number, target in enumerate(("/proc", "/proc/self", "/sys", "/dev", "/dev/null")):
        (root / "cat" / f"link{number}.jpg").symlink_to(target)
        (root / f"class{number}").symlink_to(target)
    (root / "cat" / "regular.jpg").symlink_to("/proc/self/status")
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg"]
    reason = "files and folders of the system (in /proc, /sys or /dev)"
    assert open_source(root).left_out == ((reason, 11),)


def test_the_system_is_refused_through_any_chain(root: Path) -> None:
    (root.parent / "outside" / "process").symlink_to("/proc/self")
    (root.parent / "outside" / "chained").symlink_to("process/status")
    (root / "cat" / "near").symlink_to("../../outside/chained")
    (root / "cat" / "near.jpg").symlink_to("near")
    (root / "cat" / "root.jpg").symlink_to(f"{'../' * 60}proc/version")
    (root / "cat" / "whole.jpg").symlink_to(root.parent / "outside" / "process" / "status")
    (root / "cat" / "good.jpg").symlink_to("../../outside/../outside/3.jpg")
    assert _keys(root) == ["cat/1.jpg", "cat/good.jpg", "dog/2.jpg"]
    reason = "files and folders of the system (in /proc, /sys or /dev)"
    assert open_source(root).left_out == ((reason, 4),)


def test_the_system_is_refused_without_a_link(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the root is `/`."""
    monkeypatch.setattr("swiftsiam.pipeline.sources.scan._SYSTEM", (f"{root}/dog",))
    assert _keys(root) == ["cat/1.jpg"]
    assert open_source(root).left_out[0][1] == 1


def test_links_to_files_are_cheap(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Subsets are made of a link for each of a million files too."""
    for number in range(300):
        (root / "cat" / f"link{number}.jpg").symlink_to(root.parent / "outside" / "3.jpg")
    asked: list[str] = []
    realpath = os.path.realpath

    def realpath_and_tell(path: str, *, strict: bool = False) -> str:
        asked.append(path)
        return realpath(path, strict=strict)

    monkeypatch.setattr(os.path, "realpath", realpath_and_tell)
    assert len(open_source(root)) == 302
    assert len(asked) < 5


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    (root / "cat" / "dogs").symlink_to("../dog")
    assert _keys(tmp_path / "link") == ["cat/1.jpg", "cat/dogs/2.jpg", "dog/2.jpg"]


def test_links_are_listed_alike_whatever_their_kind(root: Path) -> None:
    """A name without an extension is judged by what the link leads to."""
    (root.parent / "store").write_bytes(b"\xff\xd8\xff\xe0 a JPEG by its first bytes")
    (root / "dog" / "blob").symlink_to("../../store")
    (root / "dog" / "note").symlink_to("../../outside/3.jpg")  # holds text
    assert _keys(root) == ["cat/1.jpg", "dog/2.jpg", "dog/blob"]
    assert open_source(root).left_out == (("other files", 1),)


def test_the_message_counts_the_links(root: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (root / name).unlink()
        (root / name).symlink_to("nowhere")
    (root / "dog" / "up").symlink_to("..")
    with pytest.raises(UserError) as caught:
        open_source(root)
    assert (
        "left out were 2 class folders without a picture, 1 links that lead back to a folder "
        "above them, 2 links that lead nowhere; give a folder"
    ) in str(caught.value)
