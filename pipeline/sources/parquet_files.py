"""Which Parquet files make a data set: their names, as the Hugging Face hub gives them."""

import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .kinds import HIDDEN, OTHER, is_hidden
from .parts import HELD_OUT, TRAIN, offer_parts
from .paths import shown

SUFFIX = ".parquet"
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?\.parquet")


class _Shard(NamedTuple):
    """A file's name, taken apart."""

    part: str
    number: int
    total: int
    """Of the part's files."""


def _take_apart(name: str) -> _Shard:
    """`train-00003-of-00294.parquet`; a name of another form is a part of one file."""
    match = _SHARD.fullmatch(name)
    if match is None:
        return _Shard(name[: -len(SUFFIX)], 0, 1)
    return _Shard(match[1], int(match[2]), int(match[3]))


def is_parquet(name: str) -> bool:
    """Whether a file in a folder belongs to the set, by its name."""
    return name.endswith(SUFFIX) and not is_hidden(name)


def is_part(path: str | Path) -> bool:
    """Whether a path that leads nowhere names a part: FOLDER/train for FOLDER/train-*.parquet."""
    try:
        path = Path(path).expanduser()
        return not os.path.lexists(path) and any(
            is_parquet(name) and _take_apart(name).part == path.name
            for name in os.listdir(path.parent)  # noqa: PTH208 - names are enough
        )
    except (OSError, ValueError, RuntimeError):
        return False


def list_files(path: Path, *, field: str) -> tuple[list[Path], tuple[tuple[str, int], ...]]:
    """The files of a set, sorted by name, and what was left out (see `Source`).

    Args:
        path: of one file, of a folder, or of a part (see `is_part`).
        field: the configuration's field, named in errors.

    Raises:
        UserError: the folder holds several parts, or of a part not all files; it cannot be listed.
    """
    if path.is_file():
        return [path], ()
    part = None if path.is_dir() else path.name
    folder = path.parent if part else path
    try:
        with os.scandir(folder) as entries:
            kinds = {entry.name: entry.is_dir() for entry in entries}
    except OSError as error:
        raise UserError(f"{field}={shown(path)}: cannot be listed ({error.strerror})") from error
    found = sorted(name for name, is_folder in kinds.items() if is_parquet(name) and not is_folder)
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for name in found:
        parts[_take_apart(name).part].append(name)
    left_out = Counter(HIDDEN if is_hidden(name) else OTHER for name in kinds.keys() - set(found))
    if part is None:
        _refuse_parts(folder, parts, field=field)
    elif len(parts[part]) < len(found):
        left_out["Parquet files of other parts"] = len(found) - len(parts[part])
    chosen = found if part is None else parts[part]
    if not chosen:
        raise UserError(f"{field}={shown(path)}: no {SUFFIX} file is there; check the path")
    for names in [parts[part]] if part else parts.values():
        _refuse_gaps(folder, names, field=field)
    return [folder / name for name in chosen], tuple(sorted(left_out.items()))


def _refuse_parts(folder: Path, parts: dict[str, list[str]], *, field: str) -> None:
    """Say so where a folder holds training and test files, which would be learnt as one set."""
    if len(parts) < 2 or not parts.keys() & {*TRAIN, *HELD_OUT}:
        return
    offer = offer_parts(folder, {name: name for name in parts}, field=field)
    names = shown(" and ".join(sorted(parts)))
    raise UserError(f"{field}={shown(folder)}: holds the parts {names}; give {offer}")


def _refuse_gaps(folder: Path, names: list[str], *, field: str) -> None:
    """Say so where a download stopped half-way."""
    shards = [_take_apart(name) for name in names]
    total = max(shard.total for shard in shards)
    if any(shard.total != total for shard in shards):
        raise UserError(
            f"{field}={shown(folder)}: {shown(shards[0].part)} is there twice, in {total} files "
            "and in fewer; move the older ones away"
        )
    missing = sorted({*range(total)} - {shard.number for shard in shards})
    if missing:
        part = f"{shards[0].part}-{missing[0]:05}-of-{total:05}"
        raise UserError(
            f"{field}={shown(folder / part)}*{SUFFIX}: is missing, with it {len(missing)} of "
            f"{total} files; download it again"
        )
