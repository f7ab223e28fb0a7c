"""One shard, read to its end: a row for each picture, checksums, and what is wrong with it."""

import struct
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from ..decode import check_pixels
from ..errors import BadSampleError, UserError
from ..jpeg import SOI, read_frame
from ..sources.kinds import is_readable
from ..sources.manifest import JPEG, OTHER, PNG
from .contract import DamagedShardError, Fields, Notes, Read
from .recordio import read_recordio
from .sequential import Sequential
from .tar import read_webdataset
from .tfrecord import read_tfrecord

READERS: dict[str, Read] = {
    "webdataset": read_webdataset,
    "tfrecord": read_tfrecord,
    "recordio": read_recordio,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = 32
_TYPES = {
    "number": "q",
    "label": "q",
    "kind": "B",
    "width": "l",
    "height": "l",
    "offset": "Q",
    "length": "Q",
    "pieces": "l",
    "checksum": "Q",
}
"""Columns, as `array` calls their types."""


@dataclass
class Shard:
    """What was found in it."""

    size: int = 0
    failure: str = ""
    """Why it cannot be used at all."""
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    """(n,) each: `number`, the record's own or -1, and columns of the manifest."""
    keys: list[str] = field(default_factory=list)
    class_names: dict[int, str] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    num_unreadable: int = 0
    """Pictures whose header is damaged."""


def read_shard(path: Path, *, kind: str, fields: Fields) -> Shard:
    """Read all of a shard.

    Args:
        path: of it.
        kind: one of `READERS`.
        fields: names that the user gave.
    """
    found = Shard()
    try:
        shard = Sequential(path)
    except OSError as error:
        found.failure = f"cannot be read ({error.strerror})"
        return found
    found.size = shard.size
    try:
        _read(shard, found, READERS[kind], fields)
        shard.finish()
        found.blocks = shard.blocks
    except DamagedShardError as error:
        found.failure = str(error)
    except UserError as error:
        found.failure = str(error).removeprefix(f"{shard.name}: ")
    except OSError as error:
        found.failure = f"cannot be read ({error.strerror})"
    finally:
        shard.close()
    return found


def _read(shard: Sequential, found: Shard, read: Read, fields: Fields) -> None:
    columns = {name: array(code) for name, code in _TYPES.items()}
    for record in read(shard, fields, found.notes):
        kind, width, height, reason = look_at(record.picture)
        if reason:
            found.num_unreadable += 1
            found.notes.damaged.append((record.key, reason))
        if record.label >= 0 and record.class_name:
            found.class_names.setdefault(record.label, record.class_name)
        found.keys.append(record.key)
        row = {
            "number": record.number if record.number < 1 << 63 else -1,
            "label": record.label,
            "kind": kind,
            "width": width,
            "height": height,
            "offset": record.offset,
            "length": len(record.picture),
            "pieces": record.pieces,
            "checksum": xxhash.xxh3_64_intdigest(record.picture),
        }
        for name, values in columns.items():
            values.append(row[name])
    found.columns = {
        name: np.array(values, np.dtype(values.typecode)) for name, values in columns.items()
    }


def look_at(picture: bytes) -> tuple[int, int, int, str]:
    """(kind, width, height, what is wrong with it). The size is 0 where the header is not read."""
    try:
        if picture[:2] == SOI:
            frame = read_frame(picture)
            check_pixels(frame.height, frame.width)
            return JPEG, frame.width, frame.height, ""
        if picture[:8] == _PNG and len(picture) >= 24:
            width, height = struct.unpack_from(">II", picture, 16)
            check_pixels(height, width)
            return PNG, width, height, ""
    except BadSampleError as error:
        return OTHER, 0, 0, str(error)
    return OTHER, 0, 0, "" if is_readable(picture[:_HEAD]) else "no picture, or a damaged one"
