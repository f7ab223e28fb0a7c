"""FFCV's `.beton` file: pictures as JPEG or as raw pixels, read by position without FFCV itself."""

import json
from pathlib import Path

import numpy as np

from ..errors import UserError
from . import Format, Peek, digest_of
from .beton_format import RAW, read_tables
from .manifest import Manifest, paths_of

_MAX_CLASSES = 1_000_000


class BetonSource:
    """A beton as a source: whatever wrote it, the label and the index are found by their names.

    The file is mapped, not read. It is checked whole when it is opened (`beton_format`), so that
    the extents may be given to native code. Pickled, it is its path, and opened again.
    """

    def __init__(self, path: str | Path, *, field: str = "data.path") -> None:
        """
        Args:
            path: of the file.
            field: the configuration's field, named in errors.

        Raises:
            UserError: it is damaged, or its labels are no class numbers; says what is wrong.
        """
        self.path = str(path)
        self._field = field
        try:
            self._bytes = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
            self._stamp = _stamp(path)
            status = Path(path).stat()
        except (OSError, ValueError) as error:  # ValueError: a file of no bytes
            raise UserError(f"{field}={path}: cannot be read ({error})") from error
        self._file = status.st_dev, status.st_ino
        tables = read_tables(f"{field}={path}", self._bytes)
        self.image_field = tables.image_field
        """Name of the field that holds the pictures."""
        self.order = _listing_order(tables.numbers, len(tables.images))
        """(N,) int64: the record of each position in the listing."""
        self.images = tables.images[self.order]
        """(N,) records of mode, width, height (px) and data_ptr (bytes into `data`)."""
        self.sizes = tables.sizes[self.order]
        """(N,) uint64: bytes of each picture."""
        self.labels = _find_labels(tables.numbers, len(tables.images))[self.order]
        """(N,) int64; -1 without a label."""
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < -1 or highest >= _MAX_CLASSES:
            raise UserError(
                f"{field}={path}: labels from {lowest} to {highest}; they must be class numbers, "
                f"0 to {_MAX_CLASSES - 1} (-1: none)"
            )
        self.classes, self._manifest = _read_manifest(Path(path), highest + 1, len(self.images))
        """Of the manifest beside the file, or the class numbers as text."""

    def __reduce__(self) -> tuple:
        return _open_again, (self.path, self._field, self._stamp)

    @property
    def format(self) -> Format:
        return "beton"

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """Of the tables: where each picture lies, its form and its label."""
        return digest_of(self.images.tobytes(), self.sizes.tobytes(), self.labels.tobytes())

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the picture in the file."""
        return *self._file, int(self.images["data_ptr"][index])

    @property
    def data(self) -> np.ndarray:
        """The whole file, flat uint8, mapped and not writable."""
        return self._bytes

    @property
    def is_raw(self) -> np.ndarray:
        """(N,) bool: whether a picture is raw pixels, (height, width, 3) uint8, not a JPEG."""
        return self.images["mode"] == RAW

    @property
    def left_out(self) -> tuple[tuple[str, int], ...]:
        """Nothing: every record is listed."""
        return ()

    def key(self, index: int) -> str:
        """The picture's name in the source that was converted, where a manifest tells it; else the
        file's name and the record's number in it.
        """
        record = int(self.order[index])
        if self._manifest:
            return self._manifest.key(record)
        return f"{Path(self.path).name}:{record}"

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        data = self.read(index)
        return Peek(len(data), data[:count], data[-2:])

    def read(self, index: int) -> bytes:
        """The JPEG as it is stored, or raw pixels as a PPM file."""
        image = self.images[index]
        start = int(image["data_ptr"])
        stored = self._bytes[start : start + int(self.sizes[index])].tobytes()
        if image["mode"] != RAW:
            return stored
        return b"P6\n%d %d\n255\n" % (image["width"], image["height"]) + stored


def _stamp(path: str | Path) -> tuple[int, int]:
    """What changes when a file does: bytes and time of modification (ns)."""
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


def _open_again(path: str, field: str, stamp: tuple[int, int]) -> BetonSource:
    """Unpickle, elsewhere, a source that was open."""
    source = BetonSource(path, field=field)
    if source._stamp != stamp:
        raise UserError(f"{field}={path}: has changed since it was opened; start again")
    return source


def _listing_order(numbers: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Where the records of the sorted listing are, by the field `index` if no two have the same.

    There may be gaps: pictures that were left out when it was written.
    """
    index = numbers.get("index")
    if index is None:
        return np.arange(count)
    order = np.argsort(index, kind="stable")
    is_listing = index[order[0]] >= 0 and (np.diff(index[order]) > 0).all()
    return order if is_listing else np.arange(count)


def _find_labels(numbers: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The field `label`, else the first integer field that is not the index, else none."""
    others = [name for name in numbers if name != "index"]
    if not others:
        return np.full(count, -1, np.int64)
    return numbers["label" if "label" in numbers else others[0]].astype(np.int64)


def _read_manifest(
    path: Path, num_classes: int, num_samples: int
) -> tuple[tuple[str, ...], Manifest | None]:
    """The class names, or numbers, and the manifest that `swiftsiam convert` wrote, if it did.

    A file with `classes` alone may stand in its place.
    """
    head, samples = paths_of(path)
    if samples.is_file():
        manifest = Manifest(path)
        if len(manifest) != num_samples or len(manifest.head.classes) < num_classes:
            raise manifest.damaged("it is another file's")
        return tuple(manifest.head.classes), manifest
    if not head.is_file():
        return tuple(map(str, range(num_classes))), None
    try:
        names = json.loads(head.read_text())["classes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{head}: not a manifest with classes ({error!r})") from error
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_list or len(names) < num_classes:
        raise UserError(f"{head}: classes must be a list of at least {num_classes} names")
    return tuple(names), None
