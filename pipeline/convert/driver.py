"""A conversion from beginning to end: examine, plan, write, publish."""

import contextlib
import csv
import errno
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadSampleError, MachineError, UserError
from ..files import sync, write_atomically
from ..order import shuffled
from ..pool import run_tasks
from ..sources import Source
from ..sources.manifest import COLUMNS, RAW, Head, checksum, encode_head, encode_samples, paths_of
from .contract import STORED, Layout, Sample, ShardFormat
from .examine import EXAMINED, Rules, choose_rules, examine
from .formats import build_format
from .parts import Work, write_part
from .progress import ShowProgress
from .workplace import Workplace

CHUNK = 1024
"""Pictures that a worker examines at a time."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What decides the bytes of the result."""

    to: str
    mode: str = "smart"
    quality: int = 95
    page_size: int | None = None
    shard_size: int = 256 << 20
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has become of it."""

    num_samples: int
    num_files: int
    num_bytes: int
    converted: dict[str, int]
    """Reason → count."""
    rejected: dict[str, str]
    """Name → reason."""


def convert(
    source: Source,
    target: Path,
    *,
    options: Options,
    num_workers: int,
    resume: bool,
    progress: ShowProgress,
    tell: Callable[[str], None],
) -> Outcome:
    """Write `source` to `target`.

    Args:
        source: any.
        target: a new folder, or a new .beton file.
        options: what decides the bytes.
        num_workers: processes.
        resume: go on with what an earlier call left.
        progress: (what, total) → `Progress`.
        tell: notes for the user, a line each.

    Raises:
        UserError: something is in the way, or no picture can be stored.
        MachineError: the disk is full, or fails; a worker was killed. What is done is kept.
    """
    place = Workplace(target)
    shard_format = _build(options)
    with _disk(target):
        place.begin(_describe(source, options), resume=resume)
        try:
            rules = choose_rules(shard_format, mode=options.mode, quality=options.quality)
            shared = _Shared(source, shard_format, rules, str(target))
            _examine_all(place, shared, num_workers, progress)
            examined, notes = _gather(place, len(source))
            samples, spooled = _order(source, examined, options.seed)
            name = target.name.removesuffix(".beton")
            layout = shard_format.plan(samples, name=name, shard_size=options.shard_size)
            _check_space(place, layout, tell)
            place.make_files(layout.names, layout.sizes)
            _write_all(place, shared, samples, spooled, layout, num_workers, progress)
            outcome = _outcome(source, samples, layout, notes)
            _finish(place, source, shared, samples, layout, options, outcome)
            place.publish()
            place.remove()
        finally:
            place.close()
    return outcome


def _build(options: Options) -> ShardFormat:
    extra = {"page_size": options.page_size} if options.to == "beton" else {}
    return build_format(options.to, **extra)


def _describe(source: Source, options: Options) -> dict[str, Any]:
    """What a resumed conversion must have in common with the one that was begun."""
    return asdict(options) | {"source": source.digest, "pictures": len(source), "version": 1}


@contextlib.contextmanager
def _disk(target: Path) -> Iterator[None]:
    """What the disk refuses is told in one line, with what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = "the disk is full; make room, and continue with --resume"
        else:
            what = f"{error.strerror} ({error.filename or target}); continue with --resume"
        raise MachineError(f"DST={target}: {what}") from error


@dataclass(frozen=True)
class _Shared:
    """What every worker has."""

    source: Source
    shard_format: ShardFormat
    rules: Rules
    target: str


_shared: _Shared


def _prepare(shared: _Shared) -> None:
    global _shared
    _shared = shared


# The first pass


def _examine_all(
    place: Workplace, shared: _Shared, num_workers: int, progress: ShowProgress
) -> None:
    count = len(shared.source)
    chunks = range(-(-count // CHUNK))
    left = [chunk for chunk in chunks if not place.is_examined(chunk)]
    with progress("examining", count) as bar:
        bar.skip(count - sum(len(_indices(chunk, count)) for chunk in left))
        for num_done, num_bytes in run_tasks(
            _examine_chunk, left, num_workers=num_workers, prepare=_prepare, arguments=(shared,)
        ):
            bar.advance(num_done, num_bytes)


def _indices(chunk: int, count: int) -> range:
    return range(chunk * CHUNK, min((chunk + 1) * CHUNK, count))


def _examine_chunk(chunk: int) -> tuple[int, int]:
    """Examine a chunk and keep the outcome. Returns pictures, and their bytes."""
    place = Workplace(Path(_shared.target))
    source = _shared.source
    indices = _indices(chunk, len(source))
    table = np.zeros(len(indices), EXAMINED)
    rejected: dict[int, str] = {}
    converted: Counter[str] = Counter()
    with open(place.spool_path(chunk), "wb") as spool:
        for row, index in enumerate(indices):
            try:
                found, picture, reason = examine(
                    source, index, rules=_shared.rules, shard_format=_shared.shard_format
                )
            except BadSampleError as error:
                table[row]["is_rejected"] = True
                rejected[index] = str(error)
                continue
            if reason:
                converted[reason] += 1
            if found["spooled"] >= 0:
                found["spooled"] = spool.tell()
                spool.write(picture)
            table[row] = found
        spool.flush()
        sync(spool.fileno())
    place.keep_examined(chunk, table, {"rejected": rejected, "converted": converted})
    return len(indices), int(table["length"].sum())


@dataclass(frozen=True)
class _Notes:
    rejected: dict[int, str]
    converted: Counter[str]


def _gather(place: Workplace, count: int) -> tuple[np.ndarray, _Notes]:
    """(N,) records of `EXAMINED`, of all chunks."""
    tables = []
    notes = _Notes({}, Counter())
    for chunk in range(-(-count // CHUNK)):
        table, told = place.load_examined(chunk)
        tables.append(table)
        notes.rejected.update({int(index): reason for index, reason in told["rejected"].items()})
        notes.converted.update(told["converted"])
    return np.concatenate(tables), notes


# Between the passes


def _order(source: Source, examined: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) records of `STORED` in the order to be stored, and (N,) where they are spooled."""
    kept = np.flatnonzero(~examined["is_rejected"])
    if not len(kept):
        raise UserError(f"SRC: none of its {len(examined):,} pictures can be stored")
    order = shuffled(kept, seed=seed)
    samples = np.zeros(len(order), STORED)
    for name in ("kind", "length", "width", "height", "pieces"):
        samples[name] = examined[name][order]
    samples["index"], samples["label"] = order, source.labels[order]
    return samples, examined["spooled"][order]


def _check_space(place: Workplace, layout: Layout, tell: Callable[[str], None]) -> None:
    """Raises UserError where the result will not fit."""
    needed = sum(layout.sizes)
    for name in layout.names:
        with contextlib.suppress(FileNotFoundError):
            needed -= (place.out / name).stat().st_blocks * 512
    free = shutil.disk_usage(place.path).free
    tell(f"{len(layout.shard):,} pictures, {_size(sum(layout.sizes))} in {_files(layout)}")
    if needed > free:
        raise UserError(
            f"DST={place.target}: {_size(needed)} are needed and {_size(free)} are free; make room "
            "and continue with --resume"
        )


def _files(layout: Layout) -> str:
    return f"{len(layout.names):,} file" + "s" * (len(layout.names) != 1)


def _size(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


# The second pass


def _write_all(
    place: Workplace,
    shared: _Shared,
    samples: np.ndarray,
    spooled: np.ndarray,
    layout: Layout,
    num_workers: int,
    progress: ShowProgress,
) -> None:
    left = [part for part in range(len(layout.parts)) if not place.is_written(part)]

    def work() -> Iterator[tuple[int, str, Work, np.ndarray]]:
        for number in left:
            part = layout.parts[number]
            rows = slice(part.first, part.last)
            fixed = b""
            if part.fixed:
                fixed = shared.shard_format.fixed(part.fixed, samples, layout)
            parcel = Work(part, samples[rows], layout.start[rows], fixed)
            yield number, layout.names[part.file], parcel, spooled[rows]

    todo = sum(layout.parts[number].last - layout.parts[number].first for number in left)
    with progress("writing", len(samples)) as bar:
        bar.skip(len(samples) - todo)
        for num_done, num_bytes in run_tasks(
            _write_part, work(), num_workers=num_workers, prepare=_prepare, arguments=(shared,)
        ):
            bar.advance(num_done, num_bytes)


def _write_part(task: tuple[int, str, Work, np.ndarray]) -> tuple[int, int]:
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
        from ..decode import decode_rgb

        data = decode_rgb(_shared.source.read(sample.index)).tobytes()
    else:
        data = _shared.source.read(sample.index)
    if len(data) != sample.length:
        raise UserError(
            f"{_shared.source.key(sample.index)}: has changed while it was converted; remove "
            f"{place.path} and start again"
        )
    return data


# The end


def _outcome(source: Source, samples: np.ndarray, layout: Layout, notes: _Notes) -> Outcome:
    return Outcome(
        num_samples=len(samples),
        num_files=len(layout.names),
        num_bytes=sum(layout.sizes),
        converted=dict(sorted(notes.converted.items())),
        rejected={source.key(index): why for index, why in sorted(notes.rejected.items())},
    )


def _finish(
    place: Workplace,
    source: Source,
    shared: _Shared,
    samples: np.ndarray,
    layout: Layout,
    options: Options,
    outcome: Outcome,
) -> None:
    """Manifest, indexes and the list of what was rejected."""
    written = [place.load_written(number) for number in range(len(layout.parts))]
    checksums = np.concatenate([sums for _, sums in written])
    parts = tuple(
        (part.file, part.begin, part.end, f"{whole:016x}")
        for part, (whole, _) in zip(layout.parts, written, strict=True)
    )
    indexes = {}
    for name, content in shared.shard_format.indexes(samples, layout):
        write_atomically(place.out / name, content)
        indexes[name] = checksum(content)
    keys = [source.key(index).encode("utf-8", "surrogateescape") for index in samples["index"]]
    columns = {name: samples[name] for name in COLUMNS if name in (STORED.names or ())}
    columns |= {
        "shard": layout.shard,
        "offset": layout.offset,
        "checksum": checksums,
        "key_end": np.cumsum([len(key) for key in keys]),
    }
    arrays = encode_samples(columns, b"".join(keys))
    head_path, samples_path = (place.out / path.name for path in paths_of(place.target))
    write_atomically(samples_path, arrays)
    made = {
        "options": asdict(options),
        "source": source.digest,
        "num_converted": outcome.converted,
        "num_rejected": len(outcome.rejected),
    }
    head = Head(
        format=options.to,
        classes=source.classes,
        num_samples=len(samples),
        files=dict(zip(layout.names, layout.sizes, strict=True)),
        parts=parts,
        indexes=indexes,
        samples=checksum(arrays),
        made=made,
    )
    if outcome.rejected:
        write_atomically(rejected_path(place.target, place.out), _table(outcome.rejected))
    write_atomically(head_path, encode_head(head))


def rejected_path(target: Path, folder: Path | None = None) -> Path:
    """Where the list of what was rejected lies."""
    if target.suffix == ".beton":
        return (folder or target.parent) / f"{target.name}.rejected.csv"
    return (folder or target) / "rejected.csv"


def _table(rejected: dict[str, str]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("picture", "reason"))
    rows.writerows(rejected.items())
    return text.getvalue().encode("utf-8", "surrogateescape")
