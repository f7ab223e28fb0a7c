"""RecordIO of pictures, as MXNet's im2rec and `pack_img` write it. See `convert.formats.recordio`.

A header's flag counts the labels that stand between it and the picture; the first one is taken.
"""

import struct
from collections.abc import Iterator

from ..sources.recordio_format import HEADER, MAGIC, MAX_LENGTH
from .contract import NO_PICTURE, DamagedShardError, Fields, Notes, Record, as_label
from .sequential import Sequential

_FIRST, _LAST = 1, 3
CUT_LABELS = "records with several labels that lie in pieces"


def read_recordio(shard: Sequential, fields: Fields, notes: Notes) -> Iterator[Record]:
    """See `contract.Read`."""
    while shard.left:
        begin = shard.at
        pieces = _take_pieces(shard, begin)
        header = pieces[0][:HEADER]
        if len(header) < HEADER:
            notes.left_out[NO_PICTURE] += 1
            continue
        count, label, number, _ = struct.unpack("<IfQQ", header)
        start = HEADER + 4 * count
        if len(pieces) == 1 and len(pieces[0]) <= start:
            notes.left_out[NO_PICTURE] += 1
            continue
        if count:
            if len(pieces) > 1:
                notes.left_out[CUT_LABELS] += 1
                continue
            (label,) = struct.unpack_from("<f", pieces[0], HEADER)
        yield Record(
            key=f"{shard.name}:{number}",
            number=number,
            label=as_label(label, notes),
            class_name="",
            offset=begin + 8 + start,
            pieces=len(pieces),
            picture=MAGIC.join(pieces)[start:],
        )


def _take_pieces(shard: Sequential, begin: int) -> list[bytes]:
    """One record: as a whole, or cut where the picture has the magic."""
    pieces = []
    while True:
        at = shard.at
        if shard.left < 8:
            raise _cut_off(begin)
        magic, word = struct.unpack("<4sI", shard.take(8))
        flag, length = word >> 29, word % MAX_LENGTH
        begins = flag in (0, _FIRST)
        if magic != MAGIC or flag > _LAST or begins == bool(pieces):
            raise DamagedShardError(f"the frame at byte {at:,} is damaged")
        if length % 4 and flag not in (0, _LAST):  # it ends in front of an aligned magic
            raise DamagedShardError(f"the frame at byte {at:,} is damaged")
        stored = length + -length % 4
        if stored > shard.left:
            raise _cut_off(begin)
        pieces.append(shard.take(stored)[:length])
        if flag in (0, _LAST):
            return pieces


def _cut_off(begin: int) -> DamagedShardError:
    return DamagedShardError(f"cut off in its record at byte {begin:,}")
