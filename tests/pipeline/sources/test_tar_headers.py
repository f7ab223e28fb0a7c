"""Headers of tar archives: those of every age are read, those that cannot be are told."""

import os
import re
import struct
from pathlib import Path

import pytest
from swiftsiam.pipeline.sources import open_source

from .tars import WHOLE, Mistake, pax, sealed, sparse_headers


@pytest.mark.parametrize("header", sparse_headers())
def test_sparse_members(mistake: Mistake, header: bytes) -> None:
    told = mistake(header + bytes(1024))
    assert re.match(
        r"(a/1\.jpg|a member) in it is stored as a sparse file; pack it again without", told
    )


@pytest.mark.parametrize(
    "content",
    [
        pax(b"x path=b/2.jpg\n"),
        pax(b"99 path=b/2.jpg\n"),
        pax(b"0 path=b/2.jpg\n"),
        pax(b"3 a\n"),
        pax(b"15 path=b/2.jpg"),
        pax(b"9 size=x\n"),
        pax(b"10 size=-1\n"),
        pax(b"9 " + b"9" * 5000 + b"=\n"),
        pax(b"16 path=b/2.jpg\n", size=1 << 30),
        pax(b"16 path=b/2.jpg\n")[:1024] + bytes(1024),
        sealed(WHOLE[:124] + b"\x80" + b"\x7f" * 11 + WHOLE[136:156] + b"L" + WHOLE[157:512]),
    ],
)
def test_damaged_extensions(mistake: Mistake, content: bytes) -> None:
    assert re.match(r"the header at byte|its first header is damaged", mistake(content))


def test_long_pax_names_replace_the_short(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(pax(b"16 path=b/2.jpg\n"))
    assert open_source(tmp_path / "x.tar").key(0) == "b/2.jpg"


@pytest.mark.parametrize(
    "size", [b"-0000000001\0", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"12345678x\0\0\0"]
)
def test_sizes_that_no_file_has(mistake: Mistake, size: bytes) -> None:
    content = sealed(WHOLE[:124] + size + WHOLE[136:512]) + WHOLE[512:]
    assert re.match(r"cut off: a/1\.jpg in it ends|its first header is damaged", mistake(content))


def test_old_headers_are_read(tmp_path: Path) -> None:
    """Before POSIX: no magic, folders known by their names, checksums of signed bytes."""
    folder, file = (bytearray(WHOLE[:512]) for _ in range(2))
    folder[:10], folder[124:136], folder[156:] = b"a/\0left.jp", bytes(12), bytes(356)
    file[:10], file[156:] = b"a/\xff.jpg\0xx", bytes(356)
    blank = file[:148] + b" " * 8 + file[156:]
    signed = sum(struct.unpack("512b", blank))
    file[148:156] = b"%06o\0 " % signed
    (tmp_path / "x.tar").write_bytes(sealed(bytes(folder)) + file + WHOLE[512:1024] + bytes(512))
    source = open_source(tmp_path / "x.tar")
    assert len(source) == 1
    assert source.key(0) == os.fsdecode(b"a/\xff.jpg")
    assert source.read(0) == b"a/1.jpg"
    assert source.left_out == ()


def test_times_in_gnus_headers_are_no_part_of_the_name(tmp_path: Path) -> None:
    header = sealed(WHOLE[:345] + b"14000000000\0" + WHOLE[357:512])
    (tmp_path / "x.tar").write_bytes(header + WHOLE[512:])
    assert open_source(tmp_path / "x.tar").key(0) == "a/1.jpg"


def test_folders_have_no_data_and_need_no_slash(tmp_path: Path) -> None:
    """What stands as size in their headers may be a limit of the file system that was packed."""
    folder = sealed(b"a".ljust(100, b"\0") + WHOLE[100:156] + b"5" + WHOLE[157:512])
    (tmp_path / "x.tar").write_bytes(folder + WHOLE[1024:])
    source = open_source(tmp_path / "x.tar")
    assert source.read(0) == b"b/2.jpg"
    assert source.left_out == (("class folders without a picture", 1),)
