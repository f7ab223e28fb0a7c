"""An index of shards from beginning to end: find them, read them, write the manifest beside."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import write_atomically
from ..pool import run_tasks
from ..progress import ShowProgress
from ..sources import Format
from ..sources.manifest import COLUMNS, Head, checksum, encode_head, encode_samples, paths_of
from ..sources.paths import shown, why_compressed
from ..sources.shard_files import has_shard_name, read_kind
from ..sources.tar_format import BLOCK as TAR_BLOCK
from .contract import Fields
from .sequential import BLOCK
from .shard import Shard, read_shard

_TOLD = 10
_LARGEST_INDEX = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found."""

    format: Format
    num_shards: int
    num_samples: int
    num_bytes: int
    num_classes: int
    left_out: dict[str, int]
    """Reason → count."""
    damaged: list[tuple[str, str]]
    """(picture, reason)."""


def index_folder(
    folder: Path, *, fields: Fields, num_workers: int, progress: ShowProgress
) -> Outcome:
    """Write the manifest of shards that have none.

    Args:
        folder: they lie in it, not in folders of it.
        fields: names of a record's parts.
        num_workers: processes, each with a shard at a time.
        progress: (what, total) → `Progress`.

    Raises:
        UserError: there is a manifest; there are no shards, or of several formats; one is cut off
            or damaged; no picture was found.
    """
    for path in paths_of(folder):
        if path.exists():
            raise UserError(
                f"FOLDER={shown(folder)}: has a manifest ({path.name}) already; remove it to index "
                "again"
            )
    kind, names = find_shards(folder)
    shards = _read_all(folder, names, kind, fields, num_workers, progress)
    _refuse_damaged(folder, names, shards)
    columns, keys = _join(shards)
    if not len(columns["index"]):
        raise UserError(f"FOLDER={shown(folder)}: no picture in its shards{_counted(shards)}")
    classes = _classes(shards, columns["label"])
    left_out = dict(sorted(sum((shard.notes.left_out for shard in shards), Counter()).items()))
    damaged = [one for shard in shards for one in shard.notes.damaged]
    if sum(shard.num_unreadable for shard in shards) == len(columns["index"]):
        raise UserError(
            f"FOLDER={shown(folder)}: none of its records holds a picture that can be read, "
            f"{damaged[0][0]} for one: {damaged[0][1]}"
        )
    made = {"indexed": asdict(fields), "left_out": left_out, "num_damaged": len(damaged)}
    _write(folder, kind, names, shards, columns, keys, classes, made)
    return Outcome(
        format=kind,
        num_shards=len(names),
        num_samples=len(columns["index"]),
        num_bytes=sum(shard.size for shard in shards),
        num_classes=len(classes),
        left_out=left_out,
        damaged=damaged,
    )


def find_shards(folder: Path) -> tuple[Format, list[str]]:
    """Format and names of the shards in a folder, sorted.

    Raises:
        UserError: there are none, or of several formats; a file called as shards are is none.
    """
    told = f"FOLDER={shown(folder)}"
    kinds: dict[str, Format] = {}
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        for path in paths:
            kind = read_kind(path)
            if kind:
                kinds[path.name] = kind
            elif has_shard_name(path) and path.is_file():
                raise UserError(f"{told}: {shown(path.name)} {_why_no_shard(path)}")
    except OSError as error:
        raise UserError(f"{told}: cannot be read ({error})") from error
    if not kinds:
        raise UserError(f"{told}: no shards in it: tar archives, TFRecords, or RecordIO")
    if len(set(kinds.values())) > 1:
        examples = {kind: name for name, kind in kinds.items()}
        several = ", ".join(f"{kind} ({shown(name)})" for kind, name in sorted(examples.items()))
        raise UserError(f"{told}: shards of several formats: {several}; one folder for each")
    return next(iter(kinds.values())), list(kinds)


def _why_no_shard(path: Path) -> str:
    with open(path, "rb", buffering=0) as file:
        head = file.read(TAR_BLOCK)
    if not head:
        return "is empty; remove it, or copy it again"
    return f"is {why_compressed(head) or 'damaged at its beginning; copy or download it again'}"


def _read_all(
    folder: Path,
    names: list[str],
    kind: Format,
    fields: Fields,
    num_workers: int,
    progress: ShowProgress,
) -> list[Shard]:
    shards: list[Shard] = [Shard()] * len(names)
    tasks = ((number, folder / name, kind, fields) for number, name in enumerate(names))
    with progress("indexing shards", len(names)) as bar:
        for number, shard in run_tasks(_read_one, tasks, num_workers=min(num_workers, len(names))):
            shards[number] = shard
            bar.advance(1, shard.size)
    return shards


def _read_one(task: tuple[int, Path, str, Fields]) -> tuple[int, Shard]:
    number, path, kind, fields = task
    return number, read_shard(path, kind=kind, fields=fields)


def _refuse_damaged(folder: Path, names: list[str], shards: list[Shard]) -> None:
    failures = [
        f"{shown(name)}: {shard.failure}"
        for name, shard in zip(names, shards, strict=True)
        if shard.failure
    ]
    if failures:
        more = f" and {len(failures) - _TOLD} more" if len(failures) > _TOLD else ""
        raise UserError(
            f"FOLDER={shown(folder)}: {len(failures)} of {len(names)} shards cannot be used: "
            + "; ".join(failures[:_TOLD])
            + f"{more}; copy or download them again"
        )


def _counted(shards: list[Shard]) -> str:
    left_out = sum((shard.notes.left_out for shard in shards), Counter[str]())
    counted = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
    return f"; there are {counted}" if counted else ""


def _join(shards: list[Shard]) -> tuple[dict[str, np.ndarray], bytes]:
    """Columns of the manifest, and the keys one behind the other."""
    columns = {
        name: np.concatenate([shard.columns[name] for shard in shards])
        for name in shards[0].columns
    }
    counts = [len(shard.keys) for shard in shards]
    columns["shard"] = np.repeat(np.arange(len(shards)), counts)
    columns["index"] = _indices(columns.pop("number"))
    keys = [key.encode("utf-8", "surrogateescape") for shard in shards for key in shard.keys]
    columns["key_end"] = np.cumsum([len(key) for key in keys], dtype=np.int64)
    return columns, b"".join(keys)


def _indices(numbers: np.ndarray) -> np.ndarray:
    """The records' own numbers, which restore the order of the source they were made of, where
    each has one of its own; else the order in which they are stored.
    """
    if len(numbers) and numbers.min() >= 0 and numbers.max() <= _LARGEST_INDEX:
        ordered = np.sort(numbers)
        if (ordered[1:] != ordered[:-1]).all():
            return numbers
    return np.arange(len(numbers))


def _classes(shards: list[Shard], labels: np.ndarray) -> tuple[str, ...]:
    """A name for each number up to the largest, so that numbers stay what they are."""
    names: dict[int, str] = {}
    for shard in shards:
        names = shard.class_names | names
    return tuple(names.get(number) or str(number) for number in range(int(labels.max()) + 1))


def _write(
    folder: Path,
    kind: Format,
    names: list[str],
    shards: list[Shard],
    columns: dict[str, np.ndarray],
    keys: bytes,
    classes: tuple[str, ...],
    made: dict[str, Any],
) -> None:
    arrays = encode_samples({name: columns[name] for name in COLUMNS}, keys)
    head = Head(
        format=kind,
        classes=classes,
        num_samples=len(columns["index"]),
        files={name: shard.size for name, shard in zip(names, shards, strict=True)},
        parts=tuple(_parts(shards)),
        indexes={},
        samples=checksum(arrays),
        made=made,
    )
    head_path, samples_path = paths_of(folder)
    try:
        write_atomically(samples_path, arrays)
        write_atomically(head_path, encode_head(head))
    except OSError as error:
        raise UserError(
            f"FOLDER={shown(folder)}: the manifest cannot be written to it ({error.strerror}); "
            "index a folder of links to the shards (ln -s SHARDS/* FOLDER)"
        ) from error


def _parts(shards: list[Shard]) -> Iterator[tuple[int, int, int, str]]:
    for number, shard in enumerate(shards):
        for block, value in enumerate(shard.blocks):
            yield number, block * BLOCK, min((block + 1) * BLOCK, shard.size), value
