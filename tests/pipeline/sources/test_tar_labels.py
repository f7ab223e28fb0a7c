"""The labels file beside a tar archive."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import Source, open_source

Label = Callable[..., Source]


@pytest.fixture
def label(tmp_path: Path) -> Label:
    """(text of the labels file, *names) → the source."""

    def label(text: str | None, *names: str) -> Source:
        path = tmp_path / "val.tar"
        with tarfile.open(path, "w") as archive:
            for name in names or ("3.jpg", "1.jpg", "2.jpg", "notes.txt"):
                member = tarfile.TarInfo(name)
                member.size = len(name)
                archive.addfile(member, io.BytesIO(name.encode()))
        if text is not None:
            (tmp_path / "val.tar.labels").write_bytes(text.encode("utf-8", "surrogateescape"))
        return open_source(path)

    return label


@pytest.mark.parametrize(
    ("text", "classes", "labels"),
    [
        ("2\n0\n10\n", tuple(map(str, range(11))), [2, 0, 10]),
        ("01\n1\n001", ("0", "1"), [1, 1, 1]),
        ("dog\ncat\ndog\n\n", ("cat", "dog"), [1, 0, 1]),
        ("1\ncat\n1\n", ("1", "cat"), [0, 1, 0]),
        ("2.jpg n02\n1.jpg\tn01\r\n3.jpg  n02\n", ("n01", "n02"), [0, 1, 1]),
        ("3.jpg 0\n2.jpg 2\n1.jpg 1", ("0", "1", "2"), [1, 2, 0]),
        ("\ufeffdog\r\nkäfer\r\ndog", ("dog", "käfer"), [0, 1, 0]),
    ],
)
def test_classes_in_order_or_by_name(
    label: Label, text: str, classes: tuple[str, ...], labels: list[int]
) -> None:
    source = label(text)
    assert [source.key(index) for index in range(3)] == ["1.jpg", "2.jpg", "3.jpg"]
    assert source.classes == classes
    assert source.labels.tolist() == labels


def test_they_take_the_place_of_folders(label: Label) -> None:
    source = label("a/x y.jpg dog\nb/1.jpg cat\n", "b/1.jpg", "a/x y.jpg")
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [1, 0]
    assert [source.key(index) for index in range(2)] == ["a/x y.jpg", "b/1.jpg"]


def test_the_digest_tells_labels_apart(label: Label) -> None:
    texts = (None, "0\n0\n1", "0\n1\n1", "a\nb\nb")
    assert len({label(text).digest for text in texts}) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\n2\n", "are 2 lines, and it holds 3 pictures; write one line for each"),
        ("1\n2\n3\n4", "are 4 lines, and it holds 3 pictures; write one line for each"),
        ("", "are 1 lines, and it holds 3 pictures"),
        ("1.jpg a\n2.jpg a\nval/3.jpg b", "have no line for 1 pictures, 3.jpg among them; write"),
        ("1.jpg a\n2.jpg a\n2.jpg b", "have no line for 1 pictures, 3.jpg among them"),
        ("1\n2\n3.jpg 3", "are not all of one form: see line 3; write in each the class, or"),
        ("1\n\n3", "are not all of one form: see line 2"),
        ("0\n1\n1000000", "go up to class 1000000; number classes from 0 to 999,999"),
        (f"0\n{'0' * 5000}1\n{'9' * 5000}", "go up to class 9999"),
    ],
)
def test_lines_that_do_not_fit(label: Label, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        label(text)
    message = str(caught.value)
    assert message.startswith(f"data.path={tmp_path}/val.tar: its labels in val.tar.labels {told}")
    assert message.isprintable()
    assert len(message) < 500


def test_an_empty_line_for_the_only_picture(label: Label) -> None:
    with pytest.raises(UserError, match="are not all of one form: see line 1"):
        label("\n", "1.jpg")


def test_what_is_no_file_or_cannot_be_read(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "val.tar.labels").mkdir()
    with pytest.raises(
        UserError, match=r"val\.tar: val\.tar\.labels beside it is no file, .*; move it away"
    ):
        label(None)
    (tmp_path / "val.tar.labels").rmdir()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); mend or remove it"):
        label("1\n1\n1")
