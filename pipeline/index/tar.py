"""WebDataset: members of a tar that follow each other and share a name up to its first dot."""

import os
from collections.abc import Iterator

from ..errors import UserError
from ..sources.kinds import EXTENSIONS, HIDDEN, is_hidden
from ..sources.tar_format import FILE, FOLDER, LINK, Archive
from ..sources.tar_walk import LINKS
from .contract import LARGEST, TOO_LARGE, DamagedShardError, Fields, Notes, Record, as_label
from .sequential import Sequential

NO_PICTURE = "samples without a picture"
FURTHER = "further pictures of a sample (choose by --picture)"
OTHERS = "members that are no files"
_LABEL = "cls"
_LONGEST_LABEL = 64


def read_webdataset(shard: Sequential, fields: Fields, notes: Notes) -> Iterator[Record]:
    """See `contract.Read`."""
    sample = _Sample("", notes)
    for name, offset, size in _members(shard, notes):
        stem, extension = _split(name)
        if stem != sample.stem:
            yield from sample.end()
            sample = _Sample(stem, notes)
        if _is_picture(extension, fields):
            if size >= LARGEST:
                notes.left_out[TOO_LARGE] += 1
            elif sample.picture:
                notes.left_out[FURTHER] += 1
            else:
                shard.pass_to(offset)
                sample.name, sample.offset, sample.picture = name, offset, shard.take(size)
        elif extension == (fields.label or _LABEL):
            shard.pass_to(offset)
            sample.label = _read_label(shard.take(min(size, _LONGEST_LABEL)), notes)
    yield from sample.end()


class _Sample:
    """The members that came until now."""

    def __init__(self, stem: str, notes: Notes) -> None:
        self.stem = stem
        self.name = ""
        self.offset = 0
        self.picture = b""
        self.label = -1
        self._notes = notes

    def end(self) -> Iterator[Record]:
        """Its record, or none."""
        if self.picture:
            base = self.stem[self.stem.rfind("/") + 1 :]
            number = int(base) if base.isascii() and base.isdigit() and len(base) < 20 else -1
            yield Record(self.name, number, self.label, "", self.offset, 1, self.picture)
        elif self.stem:
            self._notes.left_out[NO_PICTURE] += 1


def _members(shard: Sequential, notes: Notes) -> Iterator[tuple[str, int, int]]:
    """(name, first byte, bytes) of each file."""
    archive = Archive(shard.descriptor, 0, shard.size, told="")
    try:
        for encoded, kind, offset, size in archive:
            name = os.fsdecode(encoded)
            if kind == FOLDER:
                continue
            if is_hidden(name[name.rfind("/") + 1 :]):
                notes.left_out[HIDDEN] += 1
            elif kind == FILE:
                yield name, offset, size
            else:
                notes.left_out[LINKS if kind == LINK else OTHERS] += 1
    except UserError as error:
        raise DamagedShardError(str(error).removeprefix(": ")) from None


def _split(name: str) -> tuple[str, str]:
    """As WebDataset does: at the first dot of the last part."""
    dot = name.find(".", name.rfind("/") + 1)
    return (name, "") if dot < 0 else (name[:dot], name[dot + 1 :])


def _is_picture(extension: str, fields: Fields) -> bool:
    if fields.picture:
        return extension == fields.picture
    return f".{extension.rpartition('.')[2].lower()}" in EXTENSIONS


def _read_label(text: bytes, notes: Notes) -> int:
    try:
        return as_label(int(text), notes)
    except ValueError:
        return as_label(float("nan"), notes)
