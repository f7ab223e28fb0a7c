"""A plain tar archive: pictures at random, straight from the mapped file, nothing unpacked."""

import os
from pathlib import Path

import numpy as np

from ..errors import UserError
from . import Format, Peek
from .paths import shown
from .tar_format import BLOCK, looks_like_tar
from .tar_labels import find_labels
from .tar_listing import Listing, arrange
from .tar_walk import Walk

Stamp = tuple[int, int, int, int]
"""What changes when a file does: device, inode, bytes, time of modification (ns)."""


class TarSource:
    """Class folders in an archive, a flat archive of pictures, or an archive of archives.

    - What `FolderSource` would list were it unpacked is listed, in the same order, except that
      links are not followed. A folder around all class folders (`imagenet/n01440764/...`) is no
      class.
    - An archive in the archive stands for a folder of its stem: `n01440764.tar` of
      ILSVRC2012_img_train.tar is the class n01440764. One in that is not looked into.
    - Where a file `NAME.tar.labels` lies beside `NAME.tar`, it gives the labels, see `read_labels`,
      and folders give none.

    The headers are read once, when it is opened, some microseconds each. Pickled, it is its path
    and the listing, and the file is mapped again where it has not changed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        field: str = "data.path",
        known: tuple[Listing, Stamp] | None = None,
    ) -> None:
        """
        Args:
            path: of the archive.
            field: the configuration's field, named in errors.
            known: what was listed, and of which file.

        Raises:
            UserError: it is damaged, cut off, compressed or no archive, has a sparse member or no
                picture; pictures lie beside class folders; the labels do not fit; it has changed.
        """
        self.path = str(path)
        self._field = field
        told = f"{field}={shown(path)}"
        try:
            with open(path, "rb", buffering=0) as file:
                listing, self._stamp = known or _list(path, file.fileno(), told=told)
                # Beyond the end of a file that is now shorter, a mapping kills its reader.
                if _stamp(file.fileno()) != self._stamp:
                    raise UserError(f"{told}: has changed since it was opened; start again")
                self.data = [np.memmap(file, np.uint8, mode="r").view(np.ndarray)]
                """The archive, flat uint8, mapped and not writable."""
        except OSError as error:
            raise UserError(
                f"{told}: cannot be read ({error.strerror}); mend or copy it"
            ) from error
        self._listing = listing
        self.classes = listing.classes
        self.labels = listing.labels
        """(N,) int64; -1 without a label."""
        self.left_out = listing.left_out
        self.digest = listing.digest

    @property
    def format(self) -> Format:
        return "tar"

    def __reduce__(self) -> tuple:
        return _open_again, (self.path, self._field, self._listing, self._stamp)

    def __len__(self) -> int:
        return len(self.labels)

    def extents(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where pictures lie.

        Args:
            indices: (n,) integers.

        Returns:
            (n,) each: number of the file in `data`, which is 0; uint64 first byte in it; uint32
            bytes; bool whether nothing is there to be decoded.
        """
        lengths = self._listing.lengths[indices]
        files = np.zeros(len(lengths), np.intp)
        return files, self._listing.offsets[indices], lengths, lengths == 0

    def key(self, index: int) -> str:
        """The picture's name in the archive; the stem of an inner archive is its folder."""
        return self._listing.key(index)

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the picture in the archive."""
        device, inode, *_ = self._stamp
        return device, inode, int(self._listing.offsets[index])

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        data = self._slice(index)
        return Peek(len(data), data[:count].tobytes(), data[-2:].tobytes())

    def read(self, index: int) -> bytes:
        """The picture's file."""
        return self._slice(index).tobytes()

    def _slice(self, index: int) -> np.ndarray:
        start = int(self._listing.offsets[index])
        return self.data[0][start : start + int(self._listing.lengths[index])]


def is_tar(path: Path) -> bool:
    """Whether a regular file is a tar archive: by its name, else by its first header."""
    if path.suffix.lower() == ".tar":
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            return looks_like_tar(file.read(BLOCK))
    except OSError:
        return False


def _stamp(file: int) -> Stamp:
    status = os.fstat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _list(path: str | Path, file: int, *, told: str) -> tuple[Listing, Stamp]:
    stamp = _stamp(file)
    walk = Walk(file)
    walk.take(0, stamp[2], told=told)
    return arrange(walk, told=told, labels_path=find_labels(Path(path), told=told)), stamp


def _open_again(path: str, field: str, listing: Listing, stamp: Stamp) -> TarSource:
    """Unpickle, elsewhere, a source that was open."""
    return TarSource(path, field=field, known=(listing, stamp))
