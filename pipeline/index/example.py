"""tf.train.Example without TensorFlow: where its features lie.

Protobuf: a tag (field number << 3 | kind), then by kind a varint, 8 bytes, a length and so many
bytes, or 4 bytes. Example{1: Features{1: entry{1: name, 2: Feature}}}, and Feature is one of {1:
BytesList, 2: FloatList, 3: Int64List}, each {1: values}. Fields come in any order and number.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class Example(NamedTuple):
    """By the features' names."""

    texts: dict[str, list[slice]]
    """Where values of bytes lie."""
    numbers: dict[str, list[int]]
    """Int64 values."""


def parse_example(data: bytes) -> Example:
    """
    Args:
        data: serialised.

    Raises:
        ValueError: it is no Example.
    """
    example = Example({}, {})
    for features in _fields_of(data, slice(0, len(data)), 1):
        for entry in _fields_of(data, features, 1):
            _take_feature(example, data, entry)
    return example


def _take_feature(example: Example, data: bytes, entry: slice) -> None:
    name = "".join(
        data[place].decode("utf-8", "surrogateescape") for place in _fields_of(data, entry, 1)
    )
    for feature in _fields_of(data, entry, 2):
        for values in _fields_of(data, feature, 1):
            example.texts[name] = _fields_of(data, values, 1)
        for values in _fields_of(data, feature, 3):
            example.numbers[name] = _numbers(data, values)


def _numbers(data: bytes, values: slice) -> list[int]:
    """Packed into one field, or each a field of its own."""
    numbers = []
    for number, value in _walk(data, values):
        if number != 1:
            continue
        if isinstance(value, int):
            numbers.append(_signed(value))
        else:
            at = value.start
            while at < value.stop:
                one, at = _varint(data, at, value.stop)
                numbers.append(_signed(one))
    return numbers


def _fields_of(data: bytes, message: slice, wanted: int) -> list[slice]:
    """The fields of a number that are bytes, or messages."""
    found = []
    for number, value in _walk(data, message):
        if number == wanted:
            if isinstance(value, int):
                raise ValueError("a number instead of a message")
            found.append(value)
    return found


def _walk(data: bytes, message: slice) -> Iterator[tuple[int, slice | int]]:
    """(field number, the varint or where its bytes lie)."""
    at, end = message.start, message.stop
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at, end)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of the kind {kind}")
        if size > end - at:
            raise ValueError("a field that ends behind its message")
        yield tag >> 3, slice(at, at + size)
        at += size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, position behind it)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a damaged number")


def _signed(value: int) -> int:
    return struct.unpack("<q", struct.pack("<Q", value & (2**64 - 1)))[0]
