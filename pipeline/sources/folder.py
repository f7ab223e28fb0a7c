"""A folder of class folders (as torchvision's ImageFolder reads it), or a flat folder."""

import os
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
    links_left_out: int = 0

    def pictures(self, folder: str) -> list[str]:
        """Relative paths of the pictures below `folder`, sorted."""
        found: list[str] = []
        pending = [folder]
        followed: set[Path] = set()
        while pending:
            folders, pictures = self.entries(pending.pop(), followed=followed)
            pending += folders
            found += pictures
        return sorted(os.path.relpath(path, self.root) for path in found)

    def entries(self, folder: str, *, followed: set[Path]) -> tuple[list[str], list[str]]:
        """Paths of the folders and of the pictures in one folder, sorted.

        `followed` takes the targets of links to folders, each of which is followed once.
        """
        folders: list[str] = []
        pictures: list[str] = []
        with os.scandir(folder) as entries:
            # Sorted, or the disk's order would decide which of two links to a folder is followed.
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink() and not self._may_follow(entry.path, followed):
                    self.links_left_out += 1
                elif entry.is_dir():
                    folders.append(entry.path)
                elif self._is_picture(entry):
                    pictures.append(entry.path)
                else:
                    self.other_files += 1
        return folders, pictures

    def _may_follow(self, path: str, followed: set[Path]) -> bool:
        """Whether a link ends at something below the root, and no cycle comes of following it."""
        target = Path(os.path.realpath(path))
        if not target.exists() or not target.is_relative_to(os.path.realpath(self.root)):
            return False
        if target.is_dir():
            here = Path(os.path.realpath(Path(path).parent))
            if target in followed or here.is_relative_to(target):
                return False
            followed.add(target)
        return True

    @staticmethod
    def _is_picture(entry: os.DirEntry) -> bool:
        # is_file() is false for FIFOs and devices, which would block a reader for ever.
        return entry.is_file() and Path(entry.name).suffix.lower() in EXTENSIONS


def scan_folder(root: Path, *, field: str = "data.path") -> FolderSource:
    """List the pictures below `root`. Links that leave the root and hidden files are left out.

    Raises:
        UserError: no picture, or pictures beside class folders, where the labels would be a guess.
    """
    scan = _Scan(root=str(root))
    try:
        folders, pictures = scan.entries(scan.root, followed=set())
        by_class = [(Path(path).name, scan.pictures(path)) for path in folders]
    except OSError as error:
        raise UserError(f"{field}={root}: cannot be listed ({error.strerror})") from error
    by_class = [(name, paths) for name, paths in by_class if paths]
    flat = [Path(path).name for path in pictures]
    if by_class and flat:
        raise UserError(
            f"{field}={root}: {len(flat)} pictures lie beside {len(by_class)} class folders; "
            "move them into a class folder or away"
        )
    if not by_class and not flat:
        raise UserError(
            f"{field}={root}: no pictures ({'/'.join(sorted(EXTENSIONS))}) in it or in "
            f"its folders; {scan.other_files} other files were left out, and "
            f"{scan.links_left_out} links that lead nowhere, out of it or in a circle"
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
