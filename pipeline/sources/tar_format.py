"""The tar format: blocks of 512 bytes, a header before each file, zeros at the end.

POSIX.1-2001 (ustar, pax) and what GNU tar writes. Python's own `tarfile` takes a damaged header for
the end, by which pictures would be lost without a word, and needs several times as long.
"""

import os
import zlib
from collections.abc import Iterator

from ..errors import UserError
from .paths import shown, why_compressed

BLOCK = 512
FILE, FOLDER, LINK, SPECIAL, UNKNOWN, _EXTENSION, _SPARSE = range(7)
"""Kinds of a member; only files and unknown ones have data. The last two are never told."""

_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": FOLDER, b"1": LINK, b"2": LINK, b"S": _SPARSE}
_KINDS |= dict.fromkeys((b"3", b"4", b"6"), SPECIAL)
# Long names and pax headers extend the next member. Passed over are the long targets of links, pax
# headers for all members (comments, mostly) and the name of the volume.
_KINDS |= dict.fromkeys((b"L", b"x", b"X", b"K", b"g", b"V"), _EXTENSION)

_LONGEST_EXTENSION = 16 << 20
"""Bytes of what extends a header; real ones hold a name and some attributes."""

_SEARCHED_END = 1 << 20
"""Bytes behind the end that are searched for further members; padding is mostly below 10 KiB."""

_COPY = "copy or download it again"


Member = tuple[bytes, int, int, int]
"""Name, kind, first byte of the data in the file, and bytes of them, which lie within it."""


class Archive:
    """The members of an archive, in the order of their headers.

    Read and not mapped: a file that is cut meanwhile would kill the process that reads a mapping.
    """

    def __init__(self, file: int, begin: int, end: int, *, told: str) -> None:
        """
        Args:
            file: descriptor.
            begin, end: of the archive in the file, bytes.
            told: how messages begin: field and name.
        """
        self._file = file
        self._begin = begin
        self._end = end
        self._told = told

    def __iter__(self) -> Iterator[Member]:
        """
        Raises:
            UserError: it is cut off, damaged, compressed or no archive, or has a sparse member;
                says where, and what to do.
            OSError: it cannot be read.
        """
        at = self._begin
        name, size = b"", -1  # of the member to come, where an extension tells them
        while (header := self._read_header(at)) is not None:
            block, stored = header
            kind = _KINDS.get(block[156:157], UNKNOWN)
            at += BLOCK
            if kind == _EXTENSION:
                name, size = self._read_extension(block[156:157], at, stored, name, size)
            else:
                name = name or _name(block)
                if size >= 0:
                    stored = size
                if kind != FILE:
                    if kind == _SPARSE:
                        raise self._sparse(name)
                    if kind != UNKNOWN:
                        stored = 0
                elif name[-1:] == b"/":  # as before POSIX
                    kind = FOLDER
                if stored > self._end - at:
                    raise self._cut_off(name, at + stored)
                yield name, kind, at, stored
                name, size = b"", -1
            at += -(-stored // BLOCK) * BLOCK
        if name or size >= 0:
            raise self._damaged(at)
        self._refuse_more(at)

    def _read_header(self, at: int) -> tuple[bytes, int] | None:
        """A header whose checksum is right and the size in it, or None at the end."""
        if at + BLOCK <= self._end:
            header = os.pread(self._file, BLOCK, at)
            size = _size(header)
            if size >= 0 and header[0]:
                return header, size
        header = os.pread(self._file, min(BLOCK, max(self._end - at, 0)), at)
        if header and not header.strip(b"\0"):
            return None
        if len(header) < BLOCK and at > self._begin:
            raise UserError(
                f"{self._told}: cut off at byte {at - self._begin:,}, before the zeros that end an "
                f"archive; {_COPY}, or append them (truncate -s +1024) if nothing is missing"
            )
        size = _size(header)
        if size < 0:
            raise self._damaged(at)
        return header, size

    def _read_extension(
        self, type_: bytes, at: int, stored: int, name: bytes, size: int
    ) -> tuple[bytes, int]:
        """Name and size of the member to come, as they were where it does not tell them."""
        if stored > min(_LONGEST_EXTENSION, self._end - at):
            raise self._damaged(at - BLOCK)
        content = os.pread(self._file, stored, at)
        if type_ == b"L":
            name = content.partition(b"\0")[0]
        elif type_ in b"xX":
            name, size = self._read_pax(content, at, name, size)
        return name, size

    def _read_pax(self, content: bytes, at: int, name: bytes, size: int) -> tuple[bytes, int]:
        records = _pax_records(content)
        if records is None:
            raise self._damaged(at - BLOCK)
        name = records.get(b"path", b"").partition(b"\0")[0] or name
        if any(key.startswith(b"GNU.sparse.") for key in records):
            raise self._sparse(records.get(b"GNU.sparse.name") or name or b"a member")
        if b"size" in records:
            if not records[b"size"].isdigit() or len(records[b"size"]) > 20:
                raise self._damaged(at - BLOCK)
            size = int(records[b"size"])
        return name, size

    def _refuse_more(self, at: int) -> None:
        """Raise where members follow the end, which every reader would leave out."""
        rest = os.pread(self._file, min(self._end - at, _SEARCHED_END), at)
        for start in range(0, len(rest) - BLOCK + 1, BLOCK):
            header = rest[start : start + BLOCK]
            if looks_like_tar(header):
                raise UserError(
                    f"{self._told}: members follow the zeros that end it at byte "
                    f"{at - self._begin:,}: damaged, or archives joined by cat; {_COPY}, or join "
                    "them with tar --concatenate"
                )

    def _cut_off(self, name: bytes, needed: int) -> UserError:
        size = self._end - self._begin
        return UserError(
            f"{self._told}: cut off: {shown(os.fsdecode(name))} in it ends at byte "
            f"{needed - self._begin:,} of {size:,}; {_COPY}"
        )

    def _damaged(self, at: int) -> UserError:
        if at > self._begin:
            what = f"the header at byte {at - self._begin:,} is damaged"
        elif self._end == self._begin:
            what = "an empty file"
        else:
            why = why_compressed(os.pread(self._file, 8, at))
            if why:
                return UserError(f"{self._told}: {why}")
            what = "its first header is damaged, or it is no tar archive"
        return UserError(f"{self._told}: {what}; {_COPY}")

    def _sparse(self, name: bytes) -> UserError:
        return UserError(
            f"{self._told}: {shown(os.fsdecode(name))} in it is stored as a sparse file; pack it "
            "again without --sparse (-S)"
        )


def looks_like_tar(head: bytes) -> bool:
    """Whether a file begins as an archive does.

    Args:
        head: its first `BLOCK` bytes.
    """
    return len(head) == BLOCK and head[257:262] == b"ustar" and _size(head) >= 0


def _size(block: bytes) -> int:
    """Of a header, the size in it; below 0 where its checksum shows that it is none."""
    if len(block) < BLOCK:
        return -1
    checksum = block[148:156]
    stored = _number(checksum)
    # The low half of Adler-32 is one and the sum of all bytes, ten times as fast as `sum`.
    others = (zlib.adler32(block) & 0xFFFF) - 1 - sum(checksum)
    if stored < 0 or (others + 8 * ord(" ") - stored) % 65521:
        # Some old writers took bytes for signed.
        signed = sum(byte - (byte >> 7 << 8) for byte in block[:148] + block[156:])
        if signed + 8 * ord(" ") != stored:
            return -1
    return _number(block[124:136])


def _number(field: bytes) -> int:
    """In octal digits, or where the first bit is set in base 256; below 0 where it is neither."""
    try:
        return int(field.partition(b"\0")[0], 8)
    except ValueError:
        if field[0] & 0x80:
            # The next bit is the sign: of a negative number nothing small enough comes out.
            return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
        return -bool(field.partition(b"\0")[0].strip())


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[345] and header[257:263] == b"ustar\0":  # GNU's own headers hold times there
        return header[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _pax_records(content: bytes) -> dict[bytes, bytes] | None:
    """Values by keyword, or None where a record is damaged."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        digits, _, _ = content[at : at + 20].partition(b" ")
        if not digits.isdigit():
            return None
        stop = at + int(digits)
        keyword, is_there, value = content[at + len(digits) + 1 : stop - 1].partition(b"=")
        if not is_there or content[stop - 1 : stop] != b"\n":
            return None
        records[keyword] = value
        at = stop
    return records
