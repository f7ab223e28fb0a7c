"""Tar archives, whole and odd, as the tests need them."""

import io
import tarfile
from collections.abc import Callable

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


WHOLE = pack("a/1.jpg", "b/2.jpg")  # headers at 0 and 1,024, the end at 2,048


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


def pax(records: bytes, size: int | None = None) -> bytes:
    """An archive whose only member has such an extended header."""
    header = tarfile.TarInfo("pax").tobuf(tarfile.USTAR_FORMAT)
    length = b"%011o" % (len(records) if size is None else size)
    header = sealed(header[:124] + length + header[135:156] + b"x" + header[157:])
    return header + records.ljust(-(-len(records) // 512) * 512, b"\0") + pack("a/1.jpg")
