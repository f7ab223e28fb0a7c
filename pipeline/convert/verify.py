"""Whether shards are, byte for byte, what was written; and if not, which sample is hurt.

First the checksums: of the manifest, of each part, of each index. Where a part is wrong, the
pictures' own checksums, and their frames, which are made again from the manifest, tell the sample.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from ..decode import decode_rgb
from ..errors import BadSampleError, UserError
from ..pool import run_tasks
from ..progress import ShowProgress
from ..sources import Source, open_source
from ..sources.manifest import PNG, RAW, Manifest
from ..sources.recordio_format import join_pieces
from .contract import Part, Sample
from .examine import PROGRESSIVE, examine
from .opened import OpenedShards
from .remake import raw_pixels
from .verify_files import Problem, check_sizes, check_small_files
from .verify_indexed import verify_indexed

_READ = 1 << 22


def verify(
    target: Path,
    *,
    source: Path | None,
    decodes: bool,
    num_workers: int,
    progress: ShowProgress,
) -> Iterator[Problem]:
    """Compare a result of `convert` with its manifest.

    Args:
        target: the folder of shards, or the beton.
        source: what it was made of, to be compared picture by picture; None: not compared.
        decodes: whether each picture is decoded as well.
        num_workers: processes.
        progress: (what, total) → `Progress`.

    Yields:
        What is wrong, as it is found.

    Raises:
        UserError: there is no manifest, or it is damaged itself.
    """
    manifest = Manifest(target, field="DST")
    yield from check_small_files(target, manifest)
    whole = yield from check_sizes(target, manifest)
    if "indexed" in manifest.head.made:
        if source:
            raise UserError("--source: these shards were indexed, not converted from a source")
        yield from verify_indexed(
            target, manifest, whole, decodes=decodes, num_workers=num_workers, progress=progress
        )
        return
    shared = _Shared(target, source, decodes)
    _prepare(shared)
    shards = _opened.shards
    if _opened.source:
        yield from _compare_listings(shards, _opened.source)
    parts = [number for number, part in enumerate(shards.layout.parts) if part.file in whole]
    with progress("verifying", len(shards.samples)) as bar:
        for num_done, num_bytes, problems in run_tasks(
            _verify_part, parts, num_workers=num_workers, prepare=_prepare, arguments=(shared,)
        ):
            yield from problems
            bar.advance(num_done, num_bytes)


@dataclass(frozen=True)
class _Shared:
    """What every worker is told."""

    target: Path
    source: Path | None
    decodes: bool


class _Opened:
    """What every worker opens once."""

    def __init__(self, shared: _Shared) -> None:
        self.shards = OpenedShards(shared.target, field="DST")
        self.source = open_source(shared.source, field="--source") if shared.source else None
        self.decodes = shared.decodes


_opened: _Opened


def _prepare(shared: _Shared) -> None:
    global _opened
    _opened = _Opened(shared)


def _compare_listings(shards: OpenedShards, source: Source) -> Iterator[Problem]:
    head = shards.manifest.head
    rejected = head.made.get("num_rejected")
    expected = len(shards.samples) + (rejected if isinstance(rejected, int) else 0)
    if len(source) != expected:
        yield Problem("--source", f"has {len(source):,} pictures, not {expected:,}")
    if source.classes != tuple(head.classes):
        yield Problem("--source", "has other classes")


def _verify_part(number: int) -> tuple[int, int, list[Problem]]:
    """(samples, bytes, what is wrong with them)."""
    shards = _opened.shards
    part = shards.layout.parts[number]
    name = shards.layout.names[part.file]
    try:
        data = np.memmap(shards.folder / name, np.uint8, mode="r")[part.begin : part.end]
    except OSError as error:
        return 0, 0, [Problem(name, f"cannot be read ({error.strerror})")]
    data = data.view(np.ndarray)
    whole = xxhash.xxh3_64()
    for at in range(0, len(data), _READ):
        whole.update(data[at : at + _READ].data)
    if whole.hexdigest() != shards.manifest.head.parts[number][3]:
        # Where all of it follows from the manifest, the checksum itself is the wrong one.
        found = list(_find_damage(shards, part, data)) or ["its checksum in the manifest is wrong"]
    elif _opened.source or _opened.decodes:
        found = list(_look_inside(shards, part, data))
    else:
        found = []
    return part.last - part.first, len(data), [Problem(name, what) for what in found]


def _find_damage(shards: OpenedShards, part: Part, data: np.ndarray) -> Iterator[str]:
    """Which samples of a part are hurt, and what lies between them."""
    at = 0
    if part.fixed:
        expected = shards.shard_format.fixed(part.fixed, shards.samples, shards.layout)
        at = len(expected)
        if data[:at].tobytes() != expected:
            yield f"its {part.fixed} is damaged"
    for row in range(part.first, part.last):
        start, end = int(shards.layout.start[row]), int(shards.ends[row])
        start, end = start - part.begin, end - part.begin
        if data[at:start].any():
            yield f"damaged in front of {_name(shards, row)}"
        reason = _why_damaged(shards, row, data, start, end)
        if reason:
            yield f"{_name(shards, row)}: {reason}"
        at = end
    if data[at:].any():
        yield f"damaged behind the last sample, from byte {part.begin + at:,} on"


def _why_damaged(shards: OpenedShards, row: int, data: np.ndarray, start: int, end: int) -> str:
    """What is wrong with a sample; nothing, if it is sound."""
    sample = Sample(*shards.samples[row].tolist())
    stored = data[start:end].tobytes()
    before = int(shards.layout.offset[row] - shards.layout.start[row])
    try:
        picture = _cut_out(sample, stored, before)
    except BadSampleError as error:
        return str(error)
    if xxhash.xxh3_64_intdigest(picture) != int(shards.manifest["checksum"][row]):
        return "the picture is damaged"
    if b"".join(shards.shard_format.frame(sample, picture)) != stored:
        return "what stands around the picture is damaged"
    return ""


def _cut_out(sample: Sample, stored: bytes, before: int) -> bytes:
    """The picture from its frame."""
    if sample.pieces == 1:
        return stored[before : before + sample.length]
    try:
        return join_pieces(stored[: len(stored) - -sample.length % 4], sample.pieces)
    except ValueError as error:
        raise BadSampleError(str(error)) from error


def _name(shards: OpenedShards, row: int) -> str:
    return f"sample {shards.manifest.key(row)!r} at byte {int(shards.layout.offset[row]):,}"


def _look_inside(shards: OpenedShards, part: Part, data: np.ndarray) -> Iterator[str]:
    """Decode, and compare with the source, the pictures of a sound part."""
    for row in range(part.first, part.last):
        sample = Sample(*shards.samples[row].tolist())
        start, end = int(shards.layout.start[row]), int(shards.ends[row])
        stored = data[start - part.begin : end - part.begin].tobytes()
        picture = _cut_out(sample, stored, int(shards.layout.offset[row]) - start)
        try:
            if _opened.decodes and sample.kind != RAW:
                decode_rgb(picture)
            reason = _compare(shards, row, sample, picture) if _opened.source else ""
        except BadSampleError as error:
            reason = str(error)
        if reason:
            yield f"{_name(shards, row)}: {reason}"


def _compare(shards: OpenedShards, row: int, sample: Sample, picture: bytes) -> str:
    """What is different in the source; nothing, if nothing is."""
    source = _opened.source
    assert source is not None
    if sample.index >= len(source) or source.key(sample.index) != shards.manifest.key(row):
        return "is another one in --source"
    if int(source.labels[sample.index]) != sample.label:
        return "has another label in --source"
    original = source.read(sample.index)
    if original == picture:
        return ""
    rules = shards.rules()
    _, _, reason = examine(source, sample.index, rules=rules, shard_format=shards.shard_format)
    if sample.kind == RAW:
        is_same = raw_pixels(original, rules.options).tobytes() == picture
    elif sample.kind == PNG:
        is_same = np.array_equal(raw_pixels(original, rules.options), decode_rgb(picture))
    elif reason == PROGRESSIVE:
        is_same = np.array_equal(decode_rgb(original), decode_rgb(picture))
    else:  # a JPEG that was made, with a loss, cannot be compared
        is_same = bool(reason)
    return "" if is_same else "is different in --source"
