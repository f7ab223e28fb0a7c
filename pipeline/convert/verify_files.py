"""What `verify` looks at first: files that are missing, of another size, or small."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..sources.manifest import Manifest, checksum, paths_of


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written."""

    file: str
    what: str


def folder_of(target: Path) -> Path:
    """Where the files lie that a manifest names."""
    return target.parent if target.suffix == ".beton" else target


def check_small_files(target: Path, manifest: Manifest) -> Iterator[Problem]:
    """The manifest's arrays and the indexes, each by the checksum of all of it."""
    head = manifest.head
    _, samples_path = paths_of(target)
    for name, expected in ({samples_path.name: head.samples} | head.indexes).items():
        try:
            found = checksum((folder_of(target) / name).read_bytes())
        except OSError as error:
            yield Problem(name, f"cannot be read ({error.strerror})")
            continue
        if found != expected:
            yield Problem(name, "is not as it was written")


def check_sizes(target: Path, manifest: Manifest) -> Generator[Problem, None, set[int]]:
    """Yields the shards that are missing or of another size; returns the numbers of the others."""
    whole = set()
    for number, (name, size) in enumerate(manifest.head.files.items()):
        path = folder_of(target) / name
        found = path.stat().st_size if path.is_file() else None
        if found == size:
            whole.add(number)
        else:
            what = "is missing" if found is None else f"has {found:,} bytes, not {size:,}"
            yield Problem(name, what)
    return whole


def check_order(manifest: Manifest) -> None:
    """Raises UserError unless the samples are in the order of their places."""
    shard = manifest["shard"].astype(np.int64)
    offset = manifest["offset"].astype(np.int64)
    if ((np.diff(shard) < 0) | ((np.diff(shard) == 0) & (np.diff(offset) <= 0))).any():
        raise manifest.damaged("its samples are not in the order of their places")


def check_parts(manifest: Manifest) -> None:
    """Raises UserError unless the parts follow each other and cover the files."""
    sizes = list(manifest.head.files.values())
    at_file, reached = 0, 0
    for file, begin, end, _ in manifest.head.parts:
        if (file, begin) != (at_file, reached) or end < begin:
            raise manifest.damaged("its parts do not follow each other")
        at_file, reached = (file + 1, 0) if end == sizes[file] else (file, end)
    if at_file != len(sizes):
        raise manifest.damaged("its parts do not cover its files")
