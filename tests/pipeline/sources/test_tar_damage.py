"""Tar archives that cannot be read: each is told in one line, whatever is wrong with it."""

import bz2
import gzip
import lzma
import os
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source, tar

from .tars import FORMATS, WHOLE, Mistake, pack, pax, sealed, sparse_headers


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"an empty file; copy or download it again$"),
        (b"text" * 400, r"its first header is damaged, or it is no tar archive; copy or"),
        (b"short", r"its first header is damaged, or it is no tar archive; copy or"),
        (WHOLE[:2048], r"cut off at byte 2,048, before the zeros that end an archive; copy .* or "
         r"append them \(truncate -s \+1024\) if nothing is missing$"),
        (WHOLE[:1200], r"cut off at byte 1,024, before the zeros"),
        (WHOLE[:1540], r"cut off: b/2\.jpg in it ends at byte 1,543 of 1,540; copy or download"),
        (WHOLE[:700] + WHOLE[1024:], r"the header at byte 1,024 is damaged; copy or download it"),
        (WHOLE[:1030] + b"?" + WHOLE[1031:], r"the header at byte 1,024 is damaged; copy or"),
        (WHOLE[:1024] + bytes(512) + WHOLE[1536:2048] + WHOLE,
         r"members follow the zeros that end it at byte 1,024: damaged, or .*; copy or"),
        (WHOLE + WHOLE, r"members follow .* at byte 2,048: .* or join them with tar --conc"),
        (bytes(10240), r"no pictures in it, which is empty; give an archive of pictures"),
        (pack("a/1.txt", ".b.jpg"), r"no pictures in it; left out were 1 hidden files and folders, "
         r"1 other files; give an archive"),
        (pack("1.jpg", "a/2.jpg", "b/3.jpg"), r"pictures lie beside 2 class folders; pack it again "
         r"with each picture in a class folder$"),
        (pack("train/a/1.jpg", "Val/a/2.jpg"), r"holds Val/ and train/ with the class folders "
         r"inside; pack each by itself \(tar -cf PART\.tar -C PART \.\) and give one"),
        (pack("data/train/a/1.jpg", "data/val/a/2.jpg"), r"holds train/ and val/ with the class"),
        (pack(**{"a.tar": WHOLE[:1540]}), r"in its member a\.tar: cut off: b/2\.jpg in it ends at "
         r"byte 1,543 of 1,540"),
        (pack(**{"a.tar": b""}), r"in its member a\.tar: an empty file"),
        (pack(**{"a.tar": gzip.compress(WHOLE)}), r"in its member a\.tar: a compressed archive, "),
        # Of the inner archive only the first block is there, but the outer one goes on.
        (pack(**{"a.tar": WHOLE[:512]}), r"in its member a\.tar: cut off: a/1\.jpg in it ends at "
         r"byte 519 of 512"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_what_to_do(mistake: Mistake, content: bytes, told: str) -> None:
    assert re.match(told, mistake(content))


@pytest.mark.parametrize(
    ("compress", "command"),
    [(gzip.compress, "gunzip"), (bz2.compress, "bunzip2"), (lzma.compress, "unxz")],
)
def test_a_compressed_archive_under_a_plain_name(
    mistake: Mistake, compress: Callable[[bytes], bytes], command: str
) -> None:
    assert mistake(compress(WHOLE)) == (
        "a compressed archive, in which no picture can be read by itself; decompress it "
        f"({command}) and give the .tar"
    )


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.TAR.BZ2", "x.txz", "x.tar.zst"])
def test_a_compressed_archive_under_its_own_name(mistake: Mistake, name: str) -> None:
    assert re.match(r"a compressed archive, .*; decompress it \(gunzip", mistake(b"", name))


def test_a_file_that_changes_while_it_is_listed(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange = tar.arrange

    def arrange_late(*args: object, **kwargs: object) -> object:
        (tmp_path / "x.tar").write_bytes(b"")
        return arrange(*args, **kwargs)

    monkeypatch.setattr(tar, "arrange", arrange_late)
    assert mistake(WHOLE) == "has changed since it was opened; start again"


def test_a_disk_that_fails(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    assert mistake(WHOLE) == "cannot be read (Input/output error); mend or copy it"


def victims() -> list[bytes]:
    """Archives in which every kind of header occurs."""
    names = ("a/1.jpg", "a/" + "/".join(["long" * 10] * 3) + "/2.jpg", "b/ä.png", "b/no extension")
    plain = [pack(*names, format=format) for format in FORMATS]
    large = tarfile.TarInfo("a/1.jpg")
    large.size = 9 << 30
    return [
        *plain,
        pack(**{"n01.tar": plain[1], "n02.tar": plain[2]}),
        large.tobuf(tarfile.GNU_FORMAT) + plain[0],
        pax(b"16 path=b/2.jpg\n11 size=07\n"),
        sparse_headers()[2] + plain[0],
    ]


def damage(content: bytes, random_: random.Random) -> bytes:
    """A few bits flipped, mostly in headers, whose checksums are then often made right again."""
    damaged = bytearray(content.rstrip(b"\0") + bytes(1024))
    for _ in range(random_.choice((1, 1, 2, 8))):
        headers = [match.start() - 257 for match in re.finditer(b"ustar", damaged)] or [0]
        block = random_.choice((*headers, 512 * random_.randrange(len(damaged) // 512)))
        start, stop = random_.choice(((0, 512), (0, 100), (124, 136), (148, 157), (156, 157)))
        damaged[block + random_.randrange(start, stop)] ^= 1 << random_.randrange(8)
        if random_.random() < 0.7 and any(damaged[block : block + 512]):
            damaged[block : block + 512] = sealed(bytes(damaged[block : block + 512]))
    if random_.random() < 0.3:
        del damaged[random_.randrange(len(damaged)) :]
    return bytes(damaged)


@pytest.mark.slow
def test_damage_is_told_or_read(tmp_path: Path) -> None:
    random_ = random.Random(0)
    path = tmp_path / "x.tar"
    contents = victims()
    told: list[str] = []
    num_read = 0
    for number in range(600):
        path.write_bytes(damage(contents[number % len(contents)], random_))
        try:
            source = open_source(path)
        except UserError as error:
            told.append(str(error))
            continue
        num_read += 1
        for index in range(len(source)):
            assert len(source.read(index)) == source.peek(index, 8).size
            assert source.key(index)
    assert num_read > 50
    assert all(map(str.isprintable, told))
    for kind in ("cut off at", "cut off: ", "header at", "first header", "sparse", "its member"):
        assert any(kind in message for message in told), kind
