"""One part of a shard: written, and compared with what it must be."""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import xxhash

from .contract import Part, Sample, ShardFormat

_ZEROS = memoryview(bytes(1 << 20))


class Work(NamedTuple):
    """A part, and all that its worker must know of its samples."""

    part: Part
    samples: np.ndarray
    """(n,) records of `STORED`."""
    starts: np.ndarray
    """(n,) int64: where their frames begin in the file."""
    fixed: bytes = b""
    """The content of a part without samples."""


def write_part(
    file: int, shard_format: ShardFormat, work: Work, read: Callable[[int, Sample], bytes]
) -> tuple[int, np.ndarray]:
    """Write all of a part to its place.

    Args:
        file: open for writing, already of its full size, with zeros where nothing was written.
        shard_format: whose bytes they are.
        work: the part.
        read: (position in the part, sample) → the picture as it is to be stored.

    Returns:
        xxh3_64 of the part, and (n,) uint64 of its pictures.

    Raises:
        OSError: the disk is full, or fails.
    """
    whole = xxhash.xxh3_64()
    checksums = np.zeros(len(work.samples), np.uint64)
    at = work.part.begin
    if work.fixed:
        whole.update(work.fixed)
        write_all(file, [work.fixed], at)
        at += len(work.fixed)
    rows = zip(work.samples.tolist(), work.starts.tolist(), strict=True)
    for number, (row, start) in enumerate(rows):
        sample = Sample(*row)
        picture = read(number, sample)
        checksums[number] = xxhash.xxh3_64_intdigest(picture)
        _skip(whole, start - at)
        pieces = shard_format.frame(sample, picture)
        for piece in pieces:
            whole.update(piece)
        at = write_all(file, pieces, start)
    _skip(whole, work.part.end - at)
    return whole.intdigest(), checksums


def write_all(file: int, pieces: list[bytes | memoryview], at: int) -> int:
    """Write pieces one behind the other. Returns the position behind them."""
    end = at + sum(map(len, pieces))
    at += os.pwritev(file, pieces, at)
    if at < end:  # a full disk takes some of it, and then refuses
        rest = memoryview(b"".join(pieces))[at - end :]
        while rest:
            written = os.pwrite(file, rest, at)
            at, rest = at + written, rest[written:]
    return at


def _skip(whole: xxhash.xxh3_64, count: int) -> None:
    """Add zeros, which need not be written."""
    for piece in zeros(count):
        whole.update(piece)


def zeros(count: int) -> Iterator[memoryview]:
    """So many zeros, in pieces."""
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)
