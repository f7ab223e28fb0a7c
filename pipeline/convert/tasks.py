"""What a worker does: examine a chunk of the pictures, write a part of the shards.

Nothing heavy is imported here, so that workers start at once.
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BadSampleError, UserError
from ..files import sync
from ..sources import Source
from ..sources.manifest import RAW
from .contract import Sample, ShardFormat
from .examine import EXAMINED, Examined, Rules, examine
from .parts import Work, write_part
from .remake import raw_pixels
from .workplace import Workplace

CHUNK = 256
"""Pictures that a worker examines at a time."""


@dataclass(frozen=True)
class Shared:
    """What every worker has."""

    source: Source
    shard_format: ShardFormat
    rules: Rules
    target: str


_shared: Shared


def prepare(shared: Shared) -> None:
    global _shared
    _shared = shared


def chunk_indices(chunk: int, count: int) -> range:
    return range(chunk * CHUNK, min((chunk + 1) * CHUNK, count))


def examine_chunk(chunk: int) -> tuple[int, int]:
    """Examine a chunk and keep the outcome. Returns pictures, and their bytes."""
    place = Workplace(Path(_shared.target))
    source = _shared.source
    indices = chunk_indices(chunk, len(source))
    found: list[Examined] = []
    rejected: dict[int, str] = {}
    converted: Counter[str] = Counter()
    with open(place.spool_path(chunk), "wb") as spool:
        for index in indices:
            try:
                one, picture, reason = examine(
                    source, index, rules=_shared.rules, shard_format=_shared.shard_format
                )
            except BadSampleError as error:
                found.append(Examined(is_rejected=True))
                rejected[index] = str(error)
                continue
            if reason:
                converted[reason] += 1
            if picture:
                one = one._replace(spooled=spool.tell())
                spool.write(picture)
            found.append(one)
        spool.flush()
        sync(spool.fileno())
    table = np.array(found, EXAMINED)
    place.keep_examined(chunk, table, {"rejected": rejected, "converted": converted})
    return len(indices), int(table["length"].sum())


def write_task(task: tuple[int, str, Work, np.ndarray]) -> tuple[int, int]:
    """Write a part and keep its checksums. Returns its pictures and bytes."""
    number, name, work, spooled = task
    place = Workplace(Path(_shared.target))
    file = os.open(place.out / name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        whole, checksums = write_part(
            file,
            _shared.shard_format,
            work,
            lambda row, sample: _read(place, sample, int(spooled[row])),
        )
        sync(file)
    finally:
        os.close(file)
    place.keep_written(number, whole, checksums)
    return len(work.samples), work.part.end - work.part.begin


def _read(place: Workplace, sample: Sample, spooled: int) -> bytes:
    """The picture as it is to be stored."""
    if spooled >= 0:
        file = os.open(place.spool_path(sample.index // CHUNK), os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(file, sample.length, spooled)
        finally:
            os.close(file)
    elif sample.kind == RAW:
        data = raw_pixels(_shared.source.read(sample.index), _shared.rules.options).tobytes()
    else:
        data = _shared.source.read(sample.index)
    if len(data) != sample.length:
        raise UserError(
            f"{_shared.source.key(sample.index)}: has changed while it was converted; remove "
            f"{place.path} and start again"
        )
    return data
