"""CIFAR-10 and CIFAR-100 as they are downloaded and unpacked: the binary or the Python version."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from . import Format, Peek, digest_of
from .cifar_pickle import Array, read_pickle
from .paths import shown

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_PPM = b"P6\n%d %d\n255\n" % (_SIDE, _SIDE)
_MOST_NAMES = 1 << 16
"""Bytes of a file of class names."""
_FILE = re.compile(r"(?:data_batch_(?P<number>\d{1,4})|test_batch|train|test)(?P<bin>\.bin)?")


class _Kind(NamedTuple):
    """What differs between the two sets."""

    num_classes: int
    label_bytes: int
    """Before the pixels of a binary record; the last is the class, of CIFAR-100 the fine one."""
    text: str
    """The file of class names in the binary version."""
    meta: str
    """The same in the Python version."""
    names: bytes
    """Of the class names in it."""
    labels: bytes
    """Of the labels in a batch of it."""
    test: str


_CIFAR10 = _Kind(10, 1, "batches.meta.txt", "batches.meta", b"label_names", b"labels", "test_batch")
_CIFAR100 = _Kind(
    100, 2, "fine_label_names.txt", "meta", b"fine_label_names", b"fine_labels", "test"
)


def is_cifar(path: Path) -> bool:
    """Whether a file's name is one of CIFAR's, and where names say little, the meta file's too."""
    match = _FILE.fullmatch(path.name)
    if match is None:
        return False
    kind = _kind(path)
    beside = path.with_name(kind.text if match["bin"] else kind.meta)
    return beside.is_file() or (match["bin"] is not None and "batch" in path.name)


def _kind(path: Path) -> _Kind:
    return _CIFAR10 if "batch" in path.name else _CIFAR100


class CifarSource:
    """Pictures of 32 x 32 px, in the order of the files by number and of the records in them.

    The files are mapped, not read: no process holds the pixels. Pickles are not trusted, see
    `cifar_pickle`. Pickled, it is its path, and opened again. The labels of CIFAR-100 are the fine
    ones. Without the file of class names, classes are called by their numbers.
    """

    def __init__(self, path: str | Path, *, field: str = "data.path") -> None:
        """
        Args:
            path: of the unpacked folder, for the training part (the binary version where both are
                there), or of one file in it (`test_batch.bin`), for that file alone.
            field: the configuration's field, named in errors.

        Raises:
            UserError: files are missing or damaged; says which. Or the folder is given for
                data.val_path, and holds a test part, which is meant.
        """
        self.path = str(path)
        self._field = field
        files, self.left_out = self._list_files(Path(path))
        self._kind = _kind(files[0])
        self._names = [file.name for file in files]
        parts = [self._map(file) for file in files]
        self._pixels = [pixels for pixels, _, _ in parts]
        """(n, 3072) uint8 each: red, green and blue planes of 32 rows of 32."""
        self.labels = np.concatenate([labels for _, labels, _ in parts])
        """(N,) int64."""
        self._stamps = [stamp for _, _, stamp in parts]
        self._ends = np.cumsum([len(pixels) for pixels in self._pixels])
        self.classes = self._read_classes(files[0])

    def __reduce__(self) -> tuple:
        return _open_again, (self.path, self._field, self._stamps)

    @property
    def format(self) -> Format:
        return "cifar"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """Of the files' names and sizes, and the labels."""
        names = "\0".join(self._names).encode()
        return digest_of(names, self._ends.astype("<i8").tobytes(), self.labels.tobytes())

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the record in its file."""
        file, row = self._find(index)
        device, inode = self._stamps[file][:2]
        return device, inode, row

    def key(self, index: int) -> str:
        """The file's name and the record's number in it."""
        file, row = self._find(index)
        return f"{self._names[file]}:{row}"

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        data = self.read(index)
        return Peek(len(data), data[:count], data[-2:])

    def read(self, index: int) -> bytes:
        """The raw pixels as a PPM file."""
        file, row = self._find(index)
        return _PPM + self._pixels[file][row].reshape(3, -1).T.tobytes()

    def _find(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self._ends, index, side="right"))
        return file, index - (int(self._ends[file - 1]) if file else 0)

    def _error(self, path: Path, why: str) -> UserError:
        return UserError(f"{self._field}={shown(path)}: {why}")

    def _list_files(self, path: Path) -> tuple[list[Path], tuple[tuple[str, int], ...]]:
        if path.is_file():
            return [path], ()
        try:
            found = [file for file in path.iterdir() if _FILE.fullmatch(file.name)]
        except OSError as error:
            raise self._error(path, f"cannot be listed ({error.strerror})") from error
        # The binary version first; a file of either set says which one it is.
        for suffix in (".bin", ""):
            files = [file for file in found if file.suffix == suffix]
            batches = [file for file in files if "data_batch" in file.name]
            batches.sort(key=lambda file: int(file.stem.rpartition("_")[2]))
            training = batches or [file for file in files if file.stem == "train"]
            if training:
                break
        else:
            raise self._error(path, "holds no data_batch_1 and no train; give its test file itself")
        for number, file in enumerate(training, start=1):
            if batches and int(file.stem.rpartition("_")[2]) != number:
                missing = path / f"data_batch_{number}{suffix}"
                raise self._error(missing, "is missing; unpack the archive again")
        test = path / f"{_kind(training[0]).test}{suffix}"
        if test not in files:
            return training, ()
        if self._field == "data.val_path":  # a score on what was trained on would look very good
            raise self._error(path, f"is the training part; give data.val_path={shown(test)}")
        return training, (("files of the test part", 1),)

    def _map(self, path: Path) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """(n, 3072) uint8 pixels, (n,) int64 labels, and what changes when the file does."""
        kind = _kind(path)
        try:
            status = path.stat()
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            read = _map_records if path.suffix == ".bin" else _map_pickle
            pixels, labels = read(path, kind)
        except OSError as error:
            raise self._error(path, f"cannot be read ({error.strerror})") from error
        except ValueError as error:
            # Of a pickle, the text is whatever stood in the file.
            raise self._error(path, f"damaged: {shown(error)}; unpack it again") from error
        if not 0 <= int(labels.min()) <= int(labels.max()) < kind.num_classes:
            raise self._error(
                path,
                f"damaged: labels from {labels.min()} to {labels.max()}, of {kind.num_classes} "
                "classes; unpack it again",
            )
        return pixels, labels, stamp

    def _read_classes(self, beside: Path) -> tuple[str, ...]:
        kind = self._kind
        is_binary = beside.suffix == ".bin"
        path = beside.with_name(kind.text if is_binary else kind.meta)
        if not path.is_file():
            return tuple(map(str, range(kind.num_classes)))
        try:
            if is_binary:
                with path.open("rb") as file:
                    names = file.read(_MOST_NAMES).split()
            else:
                names = read_pickle(str(path)).get(kind.names)
            if not isinstance(names, list) or len(names) != kind.num_classes:
                raise ValueError(f"not {kind.num_classes} class names")
            classes = tuple(bytes.decode(name) for name in names)
        except OSError as error:
            raise self._error(path, f"cannot be read ({error.strerror})") from error
        except (ValueError, TypeError) as error:
            raise self._error(path, f"damaged: {shown(error)}; unpack it again") from error
        twice = [name for name, count in Counter(classes).items() if count > 1]
        if twice:
            raise self._error(path, f"damaged: {shown(twice[0])} stands twice; unpack it again")
        return classes


def _map_records(path: Path, kind: _Kind) -> tuple[np.ndarray, np.ndarray]:
    size, record = path.stat().st_size, kind.label_bytes + _PIXELS
    if size == 0 or size % record:
        raise ValueError(f"{size:,} bytes are no whole number of records of {record:,}")
    records = np.memmap(path, np.uint8, mode="r").view(np.ndarray).reshape(-1, record)
    return records[:, kind.label_bytes :], records[:, kind.label_bytes - 1].astype(np.int64)


def _map_pickle(path: Path, kind: _Kind) -> tuple[np.ndarray, np.ndarray]:
    batch = read_pickle(str(path))
    array, labels = batch.get(b"data"), batch.get(kind.labels)
    if not isinstance(array, Array) or array.extent is None:
        raise ValueError("no pixels")
    start, size = array.extent
    if len(array.shape) != 2 or array.shape[1] != _PIXELS or array.shape[0] * _PIXELS != size:
        raise ValueError(f"pixels of the shape {array.shape} in {size:,} bytes")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f"no list of {kind.labels.decode()}")
    if len(labels) != array.shape[0]:
        raise ValueError(f"{len(labels):,} labels of {array.shape[0]:,} pictures")
    mapped = np.memmap(path, np.uint8, mode="r", offset=start, shape=array.shape)
    # Numbers beyond int64 are as wrong as those that are no class.
    return mapped.view(np.ndarray), np.clip(np.array(labels, object), -2, 1 << 31).astype(np.int64)


def _open_again(path: str, field: str, stamps: list[tuple[int, ...]]) -> CifarSource:
    """Unpickle, elsewhere, a source that was open."""
    source = CifarSource(path, field=field)
    if source._stamps != stamps:
        raise UserError(f"{field}={path}: has changed since it was opened; start again")
    return source
