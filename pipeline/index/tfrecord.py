"""TFRecord of tf.train.Example, in any of the usual namings. See `convert.formats.tfrecord`."""

import struct
from collections.abc import Iterator, Sequence

import google_crc32c

from ..errors import UserError
from ..sources.kinds import is_readable
from ..sources.tfrecord_format import has_sound_length, mask
from .contract import LARGEST, NO_PICTURE, TOO_LARGE, DamagedShardError, Fields, Notes, Record
from .contract import as_label as to_label
from .example import Example, parse_example
from .sequential import Sequential

NO_EXAMPLE = "records that are no tf.train.Example"
_PICTURES = ("image/encoded", "image")
_LABELS = ("image/class/label", "label", "class/label", "class")
_NAMES = ("image/class/synset", "image/class/text")
_KEYS = ("image/filename", "file_name", "filename")
_NUMBER = "image/index"
_HEAD = 32


def read_tfrecord(shard: Sequential, fields: Fields, notes: Notes) -> Iterator[Record]:
    """See `contract.Read`."""
    count = -1
    while shard.left:
        begin = shard.at
        count += 1
        data = _take_record(shard, begin, notes)
        if data is None:
            continue
        try:
            example = parse_example(data)
        except ValueError:
            notes.left_out[NO_EXAMPLE] += 1
            continue
        place = _find_picture(example, data, fields, shard.name)
        if place is None:
            notes.left_out[NO_PICTURE] += 1
            continue
        label = _number(example, [fields.label] if fields.label else _LABELS)
        number = _number(example, [_NUMBER])
        yield Record(
            key=_text(example, data, _KEYS) or f"{shard.name}:{count}",
            number=-1 if number is None else number,
            label=-1 if label is None else to_label(label, notes),
            class_name=_text(example, data, _NAMES),
            offset=begin + 12 + place.start,
            pieces=1,
            picture=data[place],
        )


def _take_record(shard: Sequential, begin: int, notes: Notes) -> bytes | None:
    """A record's content; nothing, and noted, where it is damaged or too large."""
    if shard.left < 12:
        raise DamagedShardError(f"cut off in its record at byte {begin:,}")
    head = shard.take(12)
    if not has_sound_length(head):
        raise DamagedShardError(f"the frame at byte {begin:,} is damaged")
    (length,) = struct.unpack_from("<Q", head)
    if length + 4 > shard.left:
        raise DamagedShardError(f"cut off in its record at byte {begin:,}")
    if length >= LARGEST:
        notes.left_out[TOO_LARGE] += 1
        shard.pass_to(shard.at + length + 4)
        return None
    data = shard.take(length)
    (crc,) = struct.unpack("<I", shard.take(4))
    if mask(google_crc32c.value(data)) != crc:
        notes.damaged.append((f"{shard.name}, record at byte {begin:,}", "wrong checksum"))
        return None
    return data


def _find_picture(example: Example, data: bytes, fields: Fields, name: str) -> slice | None:
    """Where the picture is: in the feature of that name, or in the only one that holds one."""
    for known in [fields.picture] if fields.picture else _PICTURES:
        values = example.texts.get(known)
        if values and values[0].start < values[0].stop:
            return values[0]
    if fields.picture:
        return None
    found = {
        feature: values[0]
        for feature, values in example.texts.items()
        if values and is_readable(data[values[0]][:_HEAD])
    }
    if len(found) > 1:
        raise UserError(
            f"{name}: several features of a record hold a picture: {', '.join(sorted(found))}; "
            "choose one with --picture"
        )
    return next(iter(found.values()), None)


def _number(example: Example, names: Sequence[str]) -> int | None:
    for name in names:
        if values := example.numbers.get(name):
            return values[0]
    return None


def _text(example: Example, data: bytes, names: Sequence[str]) -> str:
    for name in names:
        if values := example.texts.get(name):
            return data[values[0]].decode("utf-8", "surrogateescape")
    return ""
