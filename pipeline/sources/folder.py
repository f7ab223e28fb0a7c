"""A folder of class folders (as torchvision's ImageFolder reads it), or a flat folder."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BadSampleError, UserError
from . import Format, Peek, digest_of
from .kinds import EXTENSIONS, is_hidden
from .look import look_into
from .parts import HELD_OUT, TRAIN, offer_parts
from .paths import shown
from .scan import Scan
from .shard_files import why_not_shards

_LOOK = 20
"""Folders at most."""


@dataclass(frozen=True)
class FolderSource:
    """Pictures under one root, sorted by relative path, paths in one flat buffer.

    A million `Path` objects would take half a gigabyte in each worker; one buffer takes 40 MB.
    """

    root: str
    classes: tuple[str, ...]
    labels: np.ndarray
    _paths: bytes
    _ends: np.ndarray
    left_out: tuple[tuple[str, int], ...] = ()
    """(reason in words, count) of what lies below the root and was not listed, sorted."""

    @property
    def format(self) -> Format:
        return "folder"

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        """Path relative to the root."""
        start = int(self._ends[index - 1]) if index else 0
        return os.fsdecode(self._paths[start : int(self._ends[index])])

    @property
    def digest(self) -> str:
        """Of the relative paths, which hold the class names."""
        return digest_of(self._paths, self._ends.astype("<i8").tobytes())

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the file, links followed."""
        try:
            status = os.stat(f"{self.root}/{self.key(index)}")  # noqa: PTH116 - of a million files
        except OSError as error:
            raise BadSampleError(f"cannot be read ({error.strerror})") from error
        return status.st_dev, status.st_ino, 0

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        try:
            file = os.open(f"{self.root}/{self.key(index)}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(file).st_size
                head = os.pread(file, count, 0)
                tail = head[-2:] if size <= count else os.pread(file, 2, size - 2)
            finally:
                os.close(file)
        except OSError as error:
            raise BadSampleError(f"cannot be read ({error.strerror})") from error
        return Peek(size, head, tail)

    def read(self, index: int) -> bytes:
        """The file's bytes."""
        try:
            file = os.open(f"{self.root}/{self.key(index)}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(file).st_size
                data = os.read(file, size + 1)  # a file that grows meanwhile gives more
                while len(data) > size or (data and len(data) < size):
                    size = len(data)
                    data += os.read(file, 1 << 20)
                return data
            finally:
                os.close(file)
        except OSError as error:
            raise BadSampleError(f"cannot be read ({error.strerror})") from error


def scan_folder(root: Path, *, field: str = "data.path") -> FolderSource:
    """List the pictures below `root`, also where links lead out of it.

    Whatever is not listed is counted in `left_out`.

    Raises:
        UserError: no picture, or pictures beside class folders, where the labels would be a guess;
            a folder of parts (train, val) instead of classes; a folder that cannot be listed.
    """
    scan = Scan(str(root), field=field)
    folders, flat = scan.entries(scan.top)
    flat.sort()
    by_class = [(folder.key, scan.pictures(folder)) for folder in folders]
    by_class = [(name, keys) for name, keys in by_class if keys]
    told = f"{field}={shown(root)}"
    if len(folders) > len(by_class):
        kind = "folders" if flat else "class folders"
        scan.left_out[f"{kind} without a picture"] += len(folders) - len(by_class)
    if not by_class and not flat:
        why = why_not_shards(root) or _why_below(root) or _nothing_found(scan.left_out)
        raise UserError(f"{told}: {why}")
    _refuse_parts(root, by_class, field=field)
    if by_class and flat:
        raise UserError(
            f"{told}: {len(flat)} pictures lie beside {len(by_class)} class folders; "
            "move them into a class folder or away"
        )
    counts = [len(keys) for _, keys in by_class]
    labels = np.repeat(np.arange(len(counts)), counts) if by_class else np.full(len(flat), -1)
    listed = flat or [key for _, keys in by_class for key in keys]
    encoded = [os.fsencode(key) for key in listed]
    return FolderSource(
        root=str(root),
        classes=tuple(name for name, _ in by_class),
        labels=labels.astype(np.int64),
        _paths=b"".join(encoded),
        _ends=np.cumsum([len(path) for path in encoded], dtype=np.int64),
        left_out=tuple(sorted(scan.left_out.items())),
    )


def _why_below(root: Path) -> str | None:
    """What to do where a folder in it is the data set, as in a clone from the Hugging Face hub."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    for folder in folders[:_LOOK]:
        if look_into(folder) == "parquet":
            return f"its Parquet files lie in {shown(folder.name)}/; give {shown(folder)}"
    return None


def _nothing_found(left_out: Counter[str]) -> str:
    counted = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return (
        f"no pictures ({'/'.join(sorted(EXTENSIONS))}) in it or in its folders"
        + (f"; left out were {counted}" if counted else ", which are empty")
        + "; give a folder that holds such pictures, or convert them"
    )


def _refuse_parts(root: Path, by_class: list[tuple[str, list[str]]], *, field: str) -> None:
    """Say so where the folders are a data set's parts, which would be learnt as classes.

    Only where one of them holds folders with pictures: a class may be called "train".
    """
    names = {name.lower(): name for name, _ in by_class}
    if not names or not set(names) <= {*TRAIN, *HELD_OUT}:
        return
    if not any("/" in key[len(name) + 1 :] for name, keys in by_class for key in keys):
        return
    parts = " and ".join(f"{name}/" for name, _ in by_class)
    raise UserError(
        f"{field}={shown(root)}: holds {parts} with the class folders inside; give "
        f"{offer_parts(root, names, field=field)}"
    )
