"""Which files of a folder are pictures, and what is said of the others."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import Source, open_source

JPEG_2000 = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 "
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif"
FILM = b"\0\0\0\x18ftypisom\0\0\0\0isommp42"


def draw(kind: str, mode: str = "RGB") -> bytes:
    """A small picture's file, of one of Pillow's kinds."""
    file = io.BytesIO()
    Image.new("RGB", (5, 4), (200, 30, 90)).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., Path]:
    """({name: content}) → the root, which holds these files beside the picture a/0.png."""

    def fill(files: dict[str, bytes]) -> Path:
        for name, content in {"a/0.png": draw("PNG"), **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path

    return fill


def _keys(source: Source) -> list[str]:
    return [source.key(index) for index in range(len(source))]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("WEBP", "RGB"),
        ("GIF", "P"), ("BMP", "RGB"), ("BMP", "1"), ("PPM", "RGB"), ("PPM", "L"), ("PPM", "1"),
        ("TIFF", "RGB"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["1.jfif", "1.JPE", "1", "1.heic", "1.jpg.part", "1."])
def test_a_picture_under_any_name_is_read(
    fill: Callable[..., Path], kind: str, mode: str, name: str
) -> None:
    source = open_source(fill({f"a/{name}": draw(kind, mode)}))
    assert _keys(source) == ["a/0.png", f"a/{name}"]
    assert decode_rgb(source.read(1)).shape == (4, 5, 3)
    assert source.left_out == ()


def test_kinds_that_cannot_be_read_are_counted_by_name(fill: Callable[..., Path]) -> None:
    root = fill(
        {f"a/{number}.heic": HEIC for number in range(4)}
        | {"b/x.HEIC": HEIC, "a/x.heif": HEIC, "a/no_extension": HEIC}
        | {"a/1.avif": AVIF, "a/as": AVIF, "a/1.jp2": JPEG_2000, "a/2": JPEG_2000}
        | {"a/raw.NEF": draw("TIFF"), "a/empty.heic": b"", "a/1.svg": b"<svg/>"}
    )
    source = open_source(root)
    assert _keys(source) == ["a/0.png"]
    assert source.left_out == (
        (".avif pictures: a kind that cannot be read", 2),
        (".heic pictures: a kind that cannot be read", 7),
        (".heif pictures: a kind that cannot be read", 1),
        (".jp2 pictures: a kind that cannot be read", 2),
        (".nef pictures: a kind that cannot be read", 1),
        (".svg pictures: a kind that cannot be read", 1),
        ("class folders without a picture", 1),
    )


def test_other_files_are_counted_quietly(fill: Callable[..., Path]) -> None:
    names = ["1.txt", "1.json", "Thumbs.db", "desktop.ini", "LICENSE", "1.mp4", "1.unheard-of", "e"]
    contents = dict.fromkeys((f"a/{name}" for name in names), b"P 5, BM, GIF and other words")
    root = fill(contents | {"a/1.mp4": FILM, "a/e": b"", "notes.md": b"", "a/p": b"P5 is a name"})
    assert open_source(root).left_out == (("other files", 10),)
    assert _keys(open_source(root)) == ["a/0.png"]


def test_hidden_files_and_folders_are_counted(fill: Callable[..., Path]) -> None:
    names = [
        ".DS_Store", "a/.DS_Store", "a/._0.jpg", "__MACOSX/a/._0.jpg", "a/__MACOSX/1.jpg",
        "a/.ipynb_checkpoints/0-checkpoint.png", "a/.ipynb_checkpoints/1-checkpoint.png",
        "lost+found/1.jpg", "a/@eaDir/thumb.jpg",
    ]  # fmt: skip
    source = open_source(fill(dict.fromkeys(names, draw("PNG"))))
    assert _keys(source) == ["a/0.png"]
    assert source.classes == ("a",)
    assert source.left_out == (("hidden files and folders", 8),)


def test_an_empty_picture_stays_and_is_named_when_read(fill: Callable[..., Path]) -> None:
    source = open_source(fill({"a/1.jpg": b""}))
    assert _keys(source) == ["a/0.png", "a/1.jpg"]
    assert source.left_out == ()
    with pytest.raises(BadSampleError, match="empty"):
        decode_rgb(source.read(1))


def test_only_files_of_unknown_extension_are_opened(
    fill: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million pictures, each with its caption, are listed without opening one."""
    root = fill({"a/1.jpg": b"", "a/1.txt": b"", "a/1.json": b"", "a/1.NEF": b"", "a/2": b""})
    opened: list[str] = []
    real_open = os.open

    def open_and_tell(path: str, *args: int) -> int:
        opened.append(path)
        return real_open(path, *args)

    monkeypatch.setattr(os, "open", open_and_tell)
    open_source(root)
    assert opened == [f"{root}/a/2"]


def test_a_file_that_cannot_be_looked_at_is_counted(
    fill: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill({"a/secret": draw("PNG")})

    def refuse(path: str, *_: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    assert open_source(root).left_out == (
        ("files of no known extension that cannot be opened (Permission denied)", 1),
    )


def test_folders_without_a_picture_are_counted(fill: Callable[..., Path]) -> None:
    root = fill({"b/1.txt": b"", "c/deep/2.txt": b""})
    (root / "d").mkdir()
    assert open_source(root).classes == ("a",)
    assert open_source(root).left_out == (
        ("class folders without a picture", 3),
        ("other files", 2),
    )
    (root / "a" / "0.png").rename(root / "0.png")
    assert open_source(root).left_out[0] == ("folders without a picture", 4)


def test_what_is_left_out_is_pickled(fill: Callable[..., Path]) -> None:
    names = [os.fsdecode(b"a/\xff\xfe"), os.fsdecode(b"\xe9/caf\xe9.jfif"), "b/two\nlines"]
    source = open_source(fill(dict.fromkeys(names, draw("PNG")) | {"a/x.txt": b""}))
    copy = pickle.loads(pickle.dumps(source))
    assert copy.left_out == source.left_out == (("other files", 1),)
    assert sorted(_keys(copy)) == sorted(["a/0.png", *names])
    assert np.array_equal(decode_rgb(copy.read(3)), decode_rgb(draw("PNG")))


def test_the_message_says_what_was_left_out(fill: Callable[..., Path]) -> None:
    root = fill({"a/1.heic": HEIC, "a/2.heic": HEIC, "a/1.txt": b"", ".hidden": b""})
    (root / "a" / "0.png").unlink()
    with pytest.raises(UserError) as caught:
        open_source(root)
    assert str(caught.value) == (
        f"data.path={root}: no pictures (.bmp/.gif/.jpeg/.jpg/.pgm/.png/.ppm/.tif/.tiff/.webp) in "
        "it or in its folders; left out were 2 .heic pictures: a kind that cannot be read, "
        "1 class folders without a picture, 1 hidden files and folders, 1 other files; "
        "give a folder that holds such pictures, or convert them"
    )


@pytest.mark.engine("ffcv", formats=("beton",))
def test_a_beton_leaves_nothing_out(betons: dict[str, Path]) -> None:
    assert open_source(betons["mixed"]).left_out == ()
