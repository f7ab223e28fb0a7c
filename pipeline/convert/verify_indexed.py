"""Whether shards that `swiftsiam index` has read are as they were then.

Their frames are others' own, so that a block that is wrong is looked into by its pictures alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from ..decode import decode_rgb
from ..pool import run_tasks
from ..progress import ShowProgress
from ..sources.manifest import Manifest
from ..sources.recordio_format import extent_of
from ..sources.shards import cut_out
from .verify_files import Problem, check_order, check_parts

_READ = 1 << 22


def verify_indexed(
    target: Path,
    manifest: Manifest,
    whole: set[int],
    *,
    decodes: bool,
    num_workers: int,
    progress: ShowProgress,
) -> Iterator[Problem]:
    """Compare each block of the shards, and each picture of a block that is wrong.

    Args:
        target: the folder.
        manifest: its own.
        whole: numbers of the shards that are there.
        decodes: whether each picture is decoded as well.
        num_workers: processes.
        progress: (what, total) → `Progress`.
    """
    parts = manifest.head.parts
    blocks = [number for number, part in enumerate(parts) if part[0] in whole]
    with progress("verifying", len(manifest)) as bar:
        for num_done, num_bytes, problems in run_tasks(
            _verify_block,
            blocks,
            num_workers=num_workers,
            prepare=_prepare,
            arguments=(_Shared(target, decodes),),
        ):
            yield from problems
            bar.advance(num_done, num_bytes)


@dataclass(frozen=True)
class _Shared:
    target: Path
    decodes: bool


class _Opened:
    """What every worker opens once."""

    def __init__(self, shared: _Shared) -> None:
        self.folder = shared.target
        self.manifest = manifest = Manifest(shared.target, field="DST")
        self.decodes = shared.decodes
        check_order(manifest)
        check_parts(manifest)
        self.shard = manifest["shard"].astype(np.int64)
        self.begin = manifest["offset"].astype(np.int64)
        self.end = self.begin + extent_of(manifest["length"], manifest["pieces"])


_opened: _Opened


def _prepare(shared: _Shared) -> None:
    global _opened
    _opened = _Opened(shared)


def _verify_block(number: int) -> tuple[int, int, list[Problem]]:
    """(pictures that begin in it, bytes, what is wrong with them)."""
    file, begin, end, expected = _opened.manifest.head.parts[number]
    name = list(_opened.manifest.head.files)[file]
    try:
        data = np.memmap(_opened.folder / name, np.uint8, mode="r").view(np.ndarray)
    except OSError as error:
        return 0, 0, [Problem(name, f"cannot be read ({error.strerror})")]
    block = xxhash.xxh3_64()
    for at in range(begin, end, _READ):
        block.update(data[at : min(at + _READ, end)].data)
    # The pictures that have a byte in it: rows are in the order of shards and offsets.
    first, last = np.searchsorted(_opened.shard, (file, file + 1))
    starts = first + int(np.searchsorted(_opened.begin[first:last], begin))
    stops = first + int(np.searchsorted(_opened.begin[first:last], end))
    reaches = starts - 1 if starts > first and _opened.end[starts - 1] > begin else starts
    found = []
    if block.hexdigest() != expected:
        found = [what for row in range(reaches, stops) if (what := _why_damaged(row, data))]
        found = found or [f"damaged between its pictures, in bytes {begin:,} to {end:,}"]
    elif _opened.decodes:
        found = [what for row in range(starts, stops) if (what := _why_undecodable(row, data))]
    return stops - starts, end - begin, [Problem(name, what) for what in found]


def _why_damaged(row: int, data: np.ndarray) -> str:
    try:
        picture = _picture(row, data)
    except ValueError as error:
        return f"{_name(row)}: {error}"
    is_sound = xxhash.xxh3_64_intdigest(picture) == int(_opened.manifest["checksum"][row])
    return "" if is_sound else f"{_name(row)}: the picture is damaged"


def _why_undecodable(row: int, data: np.ndarray) -> str:
    try:
        decode_rgb(_picture(row, data))
    except ValueError as error:  # BadSampleError is one
        return f"{_name(row)}: {error}"
    return ""


def _picture(row: int, data: np.ndarray) -> bytes:
    length, pieces = (int(_opened.manifest[name][row]) for name in ("length", "pieces"))
    return cut_out(data, int(_opened.begin[row]), length, pieces)


def _name(row: int) -> str:
    return f"sample {_opened.manifest.key(row)!r} at byte {int(_opened.begin[row]):,}"
