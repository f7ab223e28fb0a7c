"""A conversion from beginning to end: examine, plan, write, publish."""

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MachineError, UserError
from ..pool import Workers
from ..progress import ShowProgress
from ..sources import Source
from ..world import World
from .contract import Layout, Options, ShardFormat
from .examine import choose_rules
from .finish import finish
from .formats import build_format
from .gather import Notes, gather, order_samples, warm_up
from .parts import Work
from .planning import PART_SIZE
from .tasks import CHUNK, Shared, chunk_indices, examine_chunk, prepare, write_task
from .workplace import Workplace


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
    world: World | None = None,
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
        world: those that share the work, each of which calls this; None: none but this.

    Raises:
        UserError: something is in the way, or no picture can be stored.
        MachineError: the disk is full, or fails; a worker was killed. What is done is kept.
    """
    world = world or World()
    place = Workplace(target)
    shard_format = _build(options)
    shared = Shared(source, shard_format, choose_rules(shard_format, options), str(target))
    task = _describe(source, options)
    workers: Workers | None = None
    with _disk(target):
        try:
            world.first(lambda: place.begin(task, resume=resume))
            workers = Workers(num_workers, prepare=prepare, arguments=(shared,))
            workers.start(meanwhile=warm_up)
            _examine_all(place, shared, workers, progress, world)
            world.wait()
            examined, notes = gather(place, len(source))
            samples, spooled = order_samples(source, examined, options.seed)
            name = target.name.removesuffix(".beton")
            layout = shard_format.plan(samples, name=name, shard_size=options.shard_size)
            world.first(lambda: _make_room(place, layout, tell))
            _write_all(place, shared, samples, spooled, layout, workers, progress, world)
            workers.close()
            world.wait()
            outcome = _outcome(source, samples, layout, notes)
            made = {
                "options": asdict(options),
                "source": source.digest,
                "num_converted": outcome.converted,
                "num_rejected": len(outcome.rejected),
            }

            def publish() -> None:
                rejected = outcome.rejected
                finish(place, source, shard_format, samples, layout, made=made, rejected=rejected)
                place.publish()
                place.remove()

            world.first(publish)
        finally:
            if workers:
                workers.close()
            place.close()
    return outcome


def _build(options: Options) -> ShardFormat:
    extra = {"page_size": options.page_size} if options.to == "beton" else {}
    return build_format(options.to, **extra)


def _describe(source: Source, options: Options) -> dict[str, Any]:
    """What a resumed conversion must have in common with the one that was begun."""
    facts = {"source": source.digest, "pictures": len(source)}
    return asdict(options) | facts | {"chunk": CHUNK, "part": PART_SIZE, "version": 1}


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


# The first pass


def _examine_all(
    place: Workplace, shared: Shared, workers: Workers, progress: ShowProgress, world: World
) -> None:
    count = len(shared.source)
    ours = world.share(list(range(-(-count // CHUNK))))
    left = [chunk for chunk in ours if not place.is_examined(chunk)]

    def total(chunks: list[int]) -> int:
        return sum(len(chunk_indices(chunk, count)) for chunk in chunks)

    with progress("examining", total(ours)) as bar:
        bar.skip(total(ours) - total(left))
        for num_done, num_bytes in workers.run(examine_chunk, left):
            bar.advance(num_done, num_bytes)


# Between the passes


def _make_room(place: Workplace, layout: Layout, tell: Callable[[str], None]) -> None:
    """Make the files, of their full size. Raises UserError where they will not fit."""
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
    place.make_files(layout.names, layout.sizes)


def _files(layout: Layout) -> str:
    return f"{len(layout.names):,} file" + "s" * (len(layout.names) != 1)


def _size(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


# The second pass


def _write_all(
    place: Workplace,
    shared: Shared,
    samples: np.ndarray,
    spooled: np.ndarray,
    layout: Layout,
    workers: Workers,
    progress: ShowProgress,
    world: World,
) -> None:
    ours = world.share(list(range(len(layout.parts))))
    left = [part for part in ours if not place.is_written(part)]

    def work() -> Iterator[tuple[int, str, Work, np.ndarray]]:
        for number in left:
            part = layout.parts[number]
            rows = slice(part.first, part.last)
            fixed = b""
            if part.fixed:
                fixed = shared.shard_format.fixed(part.fixed, samples, layout)
            parcel = Work(part, samples[rows], layout.start[rows], fixed)
            yield number, layout.names[part.file], parcel, spooled[rows]

    def total(parts: list[int]) -> int:
        return sum(layout.parts[number].last - layout.parts[number].first for number in parts)

    with progress("writing", total(ours)) as bar:
        bar.skip(total(ours) - total(left))
        for num_done, num_bytes in workers.run(write_task, work()):
            bar.advance(num_done, num_bytes)


# The end


def _outcome(source: Source, samples: np.ndarray, layout: Layout, notes: Notes) -> Outcome:
    return Outcome(
        num_samples=len(samples),
        num_files=len(layout.names),
        num_bytes=sum(layout.sizes),
        converted=dict(sorted(notes.converted.items())),
        rejected={source.key(index): why for index, why in sorted(notes.rejected.items())},
    )
