"""A folder of class folders (as torchvision's ImageFolder reads it), or a flat folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BadSampleError, UserError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
)


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

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        """Path relative to the root."""
        start = int(self._ends[index - 1]) if index else 0
        return os.fsdecode(self._paths[start : int(self._ends[index])])

    def read(self, index: int) -> bytes:
        """The file's bytes."""
        path = f"{self.root}/{self.key(index)}"
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise BadSampleError(f"cannot be read ({error.strerror})") from error


@dataclass
class _Scan:
    """What a scan saw besides pictures, for the message when it found none."""

    root: str
    other_files: int = 0
    links_out: int = 0

    def pictures(self, folder: str) -> Iterator[str]:
        """Relative paths of the pictures below `folder`, in no particular order."""
        pending = [folder]
        seen_links: set[str] = set()
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_symlink() and not self._stays_inside(entry.path, seen_links):
                        self.links_out += 1
                    elif entry.is_dir():
                        pending.append(entry.path)
                    elif self._is_picture(entry):
                        yield os.path.relpath(entry.path, self.root)
                    else:
                        self.other_files += 1

    def _stays_inside(self, path: str, seen: set[str]) -> bool:
        """Whether a link ends below the root, and (for a folder) was not followed before."""
        target = os.path.realpath(path)
        if os.path.commonpath((target, os.path.realpath(self.root))) != os.path.realpath(self.root):
            return False
        if Path(target).is_dir():
            if target in seen or os.path.realpath(Path(path).parent).startswith(target):
                return False
            seen.add(target)
        return True

    @staticmethod
    def _is_picture(entry: os.DirEntry) -> bool:
        # is_file() is false for FIFOs and devices, which would block a reader for ever.
        return entry.is_file() and os.path.splitext(entry.name)[1].lower() in EXTENSIONS


def scan_folder(root: Path, *, field: str = "data.path") -> FolderSource:
    """List the pictures below `root`. Links that leave the root and hidden files are left out.

    Raises:
        UserError: no picture, or pictures beside class folders, where the labels would be a guess.
    """
    scan = _Scan(root=str(root))
    try:
        with os.scandir(root) as entries:
            listed = [e for e in entries if not e.name.startswith(".")]
        folders = sorted(e.name for e in listed if e.is_dir())
        flat = sorted(e.name for e in listed if scan._is_picture(e))
        by_class = [(name, sorted(scan.pictures(f"{root}/{name}"))) for name in folders]
    except OSError as error:
        raise UserError(f"{field}={root}: cannot be listed ({error.strerror})") from error
    by_class = [(name, paths) for name, paths in by_class if paths]
    if by_class and flat:
        raise UserError(
            f"{field}={root}: {len(flat)} pictures lie beside {len(by_class)} class folders; "
            "move them into a class folder or away"
        )
    if not by_class and not flat:
        raise UserError(
            f"{field}={root}: no pictures ({'/'.join(sorted(EXTENSIONS))}) in it or in its folders; "
            f"{scan.other_files} other files, {scan.links_out} links out of it were left out"
        )
    paths = flat or [path for _, paths in by_class for path in paths]
    counts = [len(paths) for _, paths in by_class]
    labels = np.repeat(np.arange(len(counts)), counts) if by_class else np.full(len(flat), -1)
    encoded = [os.fsencode(path) for path in paths]
    return FolderSource(
        root=str(root),
        classes=tuple(name for name, _ in by_class),
        labels=labels.astype(np.int64),
        _paths=b"".join(encoded),
        _ends=np.cumsum([len(path) for path in encoded], dtype=np.int64),
    )
