"""The tar format: blocks of 512 bytes, a header before each file, zeros at the end.

POSIX.1-2001 (ustar, pax) and what GNU tar writes. Python's own `tarfile` takes a damaged header for
the end, by which pictures would be lost without a word, and needs several times as long.
"""

import os
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import UserError
from .paths import shown, why_compressed

BLOCK = 512
FILE, FOLDER, LINK, SPECIAL, UNKNOWN = range(5)
"""Kinds of a member."""

_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"5": FOLDER, b"1": LINK, b"2": LINK}
_KINDS |= dict.fromkeys((b"3", b"4", b"6"), SPECIAL)
_WITHOUT_DATA = (FOLDER, LINK, SPECIAL)
"""The size in their header says something else, if anything."""

_LONG_NAME, _SPARSE, _PAX = b"L", b"S", (b"x", b"X")
_PASSED_OVER = (b"K", b"g", b"V")
"""Targets of links, pax headers for all members (comments, mostly), the name of the volume."""

_LONGEST_EXTENSION = 16 << 20
"""Bytes of what extends a header; real ones hold a name and some attributes."""

_SEARCHED_END = 1 << 20
"""Bytes behind the end that are searched for further members; padding is mostly below 10 KiB."""

_COPY = "copy or download it again"


class Member(NamedTuple):
    """What a header tells."""

    name: bytes
    kind: int
    offset: int
    """Where the data begin in the file, bytes."""
    size: int
    """Bytes of the data, which lie within the archive."""


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
        while header := self._read_header(at):
            type_ = header[156:157]
            at += BLOCK
            if type_ == _LONG_NAME or type_ in _PAX or type_ in _PASSED_OVER:
                stored = _number(header[124:136])
                content = self._read_extension(at, stored)
                if type_ == _LONG_NAME:
                    name = content.partition(b"\0")[0]
                elif type_ in _PAX:
                    name, size = self._read_pax(content, at, name, size)
                at = self._after(at, stored)
                continue
            name = name or _name(header)
            if type_ == _SPARSE:
                raise self._sparse(name)
            if size < 0:
                size = _number(header[124:136])
            kind = _KINDS.get(type_, UNKNOWN)
            if kind == FILE and name.endswith(b"/"):  # as before POSIX
                kind = FOLDER
            if kind in _WITHOUT_DATA:
                size = 0
            elif size > self._end - at:
                raise self._cut_off(name, at + size)
            yield Member(name, kind, at, size)
            at = self._after(at, size)
            name, size = b"", -1
        if name or size >= 0:
            raise self._damaged(at)
        self._refuse_more(at)

    def _after(self, at: int, size: int) -> int:
        """Where the header lies that follows data."""
        return at + -(-size // BLOCK) * BLOCK

    def _read_header(self, at: int) -> bytes:
        """A header whose checksum is right, or nothing at the end."""
        header = os.pread(self._file, min(BLOCK, max(self._end - at, 0)), at)
        if header and not header[0] and not header.strip(b"\0"):
            return b""
        if len(header) < BLOCK and (header or at > self._begin):
            raise UserError(
                f"{self._told}: cut off at byte {at - self._begin:,}, before the zeros that end an "
                f"archive; {_COPY}, or append them (truncate -s +1024) if nothing is missing"
            )
        if not header or not _is_header(header):
            raise self._damaged(at)
        return header

    def _read_extension(self, at: int, size: int) -> bytes:
        if size > min(_LONGEST_EXTENSION, self._end - at):
            raise self._damaged(at - BLOCK)
        return os.pread(self._file, size, at)

    def _read_pax(self, content: bytes, at: int, name: bytes, size: int) -> tuple[bytes, int]:
        """Name and size of the member to come, as they were where nothing else is told."""
        records = _pax_records(content)
        if records is None:
            raise self._damaged(at - BLOCK)
        name = records.get(b"path") or name
        if any(key.startswith(b"GNU.sparse.") for key in records):
            raise self._sparse(records.get(b"GNU.sparse.name", name))
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
            if header[257:262] == b"ustar" and _is_header(header):
                raise UserError(
                    f"{self._told}: goes on behind its end at byte {at - self._begin:,}: damaged, "
                    f"or archives joined by cat; {_COPY}, or join them with tar --concatenate"
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
    return len(head) == BLOCK and head[257:262] == b"ustar" and _is_header(head)


def _is_header(block: bytes) -> bool:
    """Whether its checksum is right, and its numbers are."""
    checksum = block[148:156]
    stored = _number(checksum)
    if stored < 0 or _number(block[124:136]) < 0:
        return False
    # The low half of Adler-32 is one and the sum of all bytes, ten times as fast as `sum`.
    others = (zlib.adler32(block) & 0xFFFF) - 1 - sum(checksum)
    if (others + 8 * ord(" ") - stored) % 65521 == 0:
        return True
    # Some old writers took bytes for signed.
    signed = sum(byte - (byte >> 7 << 8) for byte in block[:148] + block[156:])
    return signed + 8 * ord(" ") == stored


def _number(field: bytes) -> int:
    """In octal digits, or where the first bit is set in base 256; -1 where it is neither."""
    if field[0] & 0x80:
        # The next bit is the sign: of a negative number nothing small enough comes out.
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    try:
        return int(digits, 8) if digits.isdigit() else -bool(digits)
    except ValueError:  # an 8 or a 9
        return -1


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
