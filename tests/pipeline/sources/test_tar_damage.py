"""Tar archives that cannot be read: each is told in one line, whatever is wrong with it."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source, tar

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def pack(*names: str, format: int = tarfile.GNU_FORMAT, **contents: bytes) -> bytes:
    """An archive of such files; those without content hold their own names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name in (*names, *contents):
            data = contents.get(name, name.encode())
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def sealed(header: bytes) -> bytes:
    """A header with the checksum that it should have."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


Mistake = Callable[..., str]


@pytest.fixture
def mistake(tmp_path: Path) -> Mistake:
    """(content, name="x.tar") → what is told of such a file, after field, value and colon."""

    def mistake(content: bytes, name: str = "x.tar") -> str:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            open_source(path)
        message = str(caught.value)
        assert message.isprintable()
        assert len(message) < 800
        start = f"data.path={path}: "
        assert message.startswith(start)
        return message.removeprefix(start)

    return mistake


WHOLE = pack("a/1.jpg", "b/2.jpg")  # headers at 0 and 1,024, the end at 2,048


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


def sparse_headers() -> list[bytes]:
    """A member "a/1.jpg" stored as a sparse file, as GNU tar has written it over the years."""
    member = tarfile.TarInfo("a/1.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    found = [member.tobuf(tarfile.GNU_FORMAT)]
    for records in (
        {"GNU.sparse.size": "9", "GNU.sparse.numblocks": "0"},
        {"GNU.sparse.map": "0,9", "GNU.sparse.size": "9", "GNU.sparse.name": "a/1.jpg"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a/1.jpg"},
    ):
        member = tarfile.TarInfo("a/1.jpg")
        member.pax_headers = records
        found.append(member.tobuf(tarfile.PAX_FORMAT))
    return found


@pytest.mark.parametrize("header", sparse_headers())
def test_sparse_members(mistake: Mistake, header: bytes) -> None:
    told = mistake(header + bytes(1024))
    assert re.match(
        r"(a/1\.jpg|a member) in it is stored as a sparse file; pack it again without", told
    )


def pax(records: bytes, size: int | None = None) -> bytes:
    """An archive whose only member has such an extended header."""
    header = tarfile.TarInfo("pax").tobuf(tarfile.USTAR_FORMAT)
    length = b"%011o" % (len(records) if size is None else size)
    header = sealed(header[:124] + length + header[135:156] + b"x" + header[157:])
    return header + records.ljust(-(-len(records) // 512) * 512, b"\0") + pack("a/1.jpg")


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
