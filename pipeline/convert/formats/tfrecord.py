"""TFRecord: records of tf.train.Example, written without TensorFlow.

    u64 length · u32 masked crc32c of those 8 bytes · Example · u32 masked crc32c of the Example

in little-endian. The Example has `image/class/label` and `image/index` (int64) and, last of all,
`image/encoded` (bytes): so the picture is one range of the file, and its place is known before it
is read. DALI's index has a line `offset size` for each record, frame included.
"""

import struct
from collections.abc import Iterable
from functools import cache

import google_crc32c
import numpy as np

from ...sources.tfrecord_format import mask
from ..contract import Layout, Sample
from ..planning import Shards

LABEL, INDEX, ENCODED = b"image/class/label", b"image/index", b"image/encoded"
_BEFORE = 12  # length and its CRC


class Writer(Shards):
    """See `contract.ShardFormat`."""

    name = "tfrecord"
    suffix = "tfrecord"
    largest = 2**31 - 4096  # protobuf's limit of a message

    def overhead(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _BEFORE + _head_sizes(samples), np.full(len(samples), 4, np.int64)

    def frame(self, sample: Sample, picture: bytes | memoryview) -> list[bytes | memoryview]:
        head = example_head(sample.label, sample.index, sample.length)
        length = struct.pack("<Q", len(head) + sample.length)
        crc = google_crc32c.extend(google_crc32c.value(head), picture)
        before = length + struct.pack("<I", mask(google_crc32c.value(length))) + head
        return [before, picture, struct.pack("<I", mask(crc))]

    def indexes(self, samples: np.ndarray, layout: Layout) -> Iterable[tuple[str, bytes]]:
        before, behind = self.overhead(samples)
        sizes = before + samples["length"] + behind
        for number, name in enumerate(layout.names):
            rows = layout.shard == number
            pairs = zip(layout.start[rows].tolist(), sizes[rows].tolist(), strict=True)
            yield f"{name}.idx", "".join(f"{start} {size}\n" for start, size in pairs).encode()


def example_head(label: int, index: int, length: int) -> bytes:
    """The Example up to its picture of `length` bytes.

    Protobuf: a field is its number << 3 | 2, a length, and so many bytes. Example{1: Features{1:
    entry{1: name, 2: Feature{1: BytesList{1: bytes} or 3: Int64List{1: packed}}}}}.
    """
    numbers = _label_entry(label) + _int64_entry(INDEX, index)
    value = b"\x0a" + _varint(length)
    value = b"\x0a" + _varint(len(value) + length) + value
    value = b"\x12" + _varint(len(value) + length) + value
    entry = _field(1, ENCODED) + value
    entry = b"\x0a" + _varint(len(entry) + length) + entry
    features = numbers + entry
    return b"\x0a" + _varint(len(features) + length) + features


@cache
def _label_entry(label: int) -> bytes:
    return _int64_entry(LABEL, label)


def _int64_entry(name: bytes, value: int) -> bytes:
    feature = _field(3, _field(1, _varint(value)))
    return _field(1, _field(1, name) + _field(2, feature))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits to a byte, the lowest first; a negative one as 64 bits."""
    value &= 2**64 - 1
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head_sizes(samples: np.ndarray) -> np.ndarray:
    """(N,) int64: `len(example_head(…))` of each."""
    length = samples["length"]
    # Around the varint of a number stand 10 bytes of frames, all shorter than 128, and its name.
    numbers = sum(
        _varint_sizes(samples[name]) + 10 + len(text)
        for name, text in (("label", LABEL), ("index", INDEX))
    )
    size = 0
    for extra in (0, 0, 0, 2 + len(ENCODED), numbers):
        size = size + extra
        size = size + 1 + _varint_sizes(size + length)
    return np.asarray(size, np.int64)


def _varint_sizes(values: np.ndarray) -> np.ndarray:
    unsigned = values.astype(np.int64).view(np.uint64)
    limits = np.array([1 << 7 * count for count in range(1, 10)], np.uint64)
    return np.searchsorted(limits, unsigned, side="right") + 1
