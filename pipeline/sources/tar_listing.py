"""Which pictures of an archive stand where, under which label: as in its folders, unpacked."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from . import digest_of
from .parts import HELD_OUT, TRAIN
from .tar_labels import read_labels
from .tar_walk import Walk

REPLACED = "members that a later one of the same name replaces"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The pictures of an archive, sorted by class and name."""

    keys: bytes
    """One after another: a million strings would take ten times as much."""
    ends: np.ndarray
    """(N,) int64: where each key ends."""
    offsets: np.ndarray
    """(N,) uint64: first byte of each picture in the file."""
    lengths: np.ndarray
    """(N,) uint32: bytes of each picture."""
    classes: tuple[str, ...]
    labels: np.ndarray
    """(N,) int64 positions in `classes`; -1 without a label."""
    left_out: tuple[tuple[str, int], ...]
    digest: str

    def key(self, index: int) -> str:
        """See `TarSource.key`."""
        start = int(self.ends[index - 1]) if index else 0
        return os.fsdecode(self.keys[start : int(self.ends[index])])


def arrange(walk: Walk, *, told: str, labels_path: Path | None) -> Listing:
    """Sort what a walk has met.

    Args:
        walk: through the whole archive.
        told: how messages begin.
        labels_path: of `read_labels`; None: a label is the name of the folder.

    Raises:
        UserError: no picture; pictures beside class folders, where the labels would be a guess;
            parts (train, val) instead of classes; of `read_labels`.
    """
    if not walk.keys:
        raise UserError(f"{told}: {_nothing_found(walk.left_out)}")
    left_out = walk.left_out
    ways = {_way(key) for key in walk.keys}
    classes, class_of = (), dict.fromkeys(ways, -1)
    if labels_path is None:
        classes, class_of = _classes(ways, walk.folders, left_out, told=told)
    numbers = [class_of[_way(key)] for key in walk.keys]
    order = sorted(range(len(numbers)), key=walk.keys.__getitem__)
    kept = [
        number
        for number, after in zip(order, [*order[1:], -1], strict=True)
        if after < 0 or walk.keys[number] != walk.keys[after]
    ]
    if len(kept) < len(order):
        left_out[REPLACED] = len(order) - len(kept)
    kept.sort(key=numbers.__getitem__)
    labels = np.array(numbers, np.int64)[kept]
    encoded = [os.fsencode(walk.keys[number]) for number in kept]
    keys, ends = b"".join(encoded), np.cumsum([len(key) for key in encoded], dtype=np.int64)
    parts = [keys, ends.astype("<i8").tobytes()]  # as of the folder: names hold the classes
    if labels_path is not None:
        names = [walk.keys[number] for number in kept]
        classes, labels = read_labels(labels_path, names, told=told)
        parts += [labels.astype("<i8").tobytes(), *map(os.fsencode, classes)]
    return Listing(
        keys=keys,
        ends=ends,
        offsets=np.array(walk.offsets, np.uint64)[kept],
        lengths=np.array(walk.lengths, np.uint32)[kept],
        classes=classes,
        labels=labels,
        left_out=tuple(sorted(left_out.items())),
        digest=digest_of(*parts),
    )


def _way(key: str) -> str:
    return key[: key.rfind("/") + 1]


def _classes(
    ways: Collection[str], folders: Collection[str], left_out: Counter[str], *, told: str
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and the class of each folder with pictures; counts class folders without one.

    Args:
        ways: keys of the folders with pictures.
        folders: keys of all folders.
    """
    split = {way: _parts(way) for way in ways}
    depth = _depth(list(split.values()))
    top = next(iter(split.values()))[:depth]
    all_split = map(_parts, folders)
    known = {parts[depth] for parts in all_split if parts[:depth] == top and parts[depth:]}
    names = sorted({parts[depth] for parts in split.values() if len(parts) > depth})
    is_flat = not all(split.values())
    if empty := len(known.difference(names)):
        left_out[f"{'folders' if is_flat else 'class folders'} without a picture"] = empty
    if not names:
        return (), dict.fromkeys(ways, -1)
    is_deep = any(len(parts) > depth + 1 for parts in split.values())
    if is_deep and {name.lower() for name in names} <= {*TRAIN, *HELD_OUT}:
        raise UserError(
            f"{told}: holds {' and '.join(f'{name}/' for name in names)} with the class folders "
            "inside; pack each by itself (tar -cf PART.tar -C PART .) and give one of the archives"
        )
    if is_flat:
        raise UserError(
            f"{told}: pictures lie beside {len(names)} class folders; pack it again with each "
            "picture in a class folder"
        )
    positions = {name: number for number, name in enumerate(names)}
    return tuple(names), {way: positions[parts[depth]] for way, parts in split.items()}


def _depth(split: list[list[str]]) -> int:
    """How many folders stand around the class folders (tar -cf imagenet.tar imagenet)."""
    depth = 0
    while all(len(parts) > depth + 1 for parts in split) and len({p[depth] for p in split}) == 1:
        depth += 1
    return depth


def _parts(key: str) -> list[str]:
    return key.split("/")[:-1]


def _nothing_found(left_out: Counter[str]) -> str:
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return (
        "no pictures in it"
        + (f"; left out were {counted}" if counted else ", which is empty")
        + "; give an archive of pictures, or of class folders with pictures"
    )
