"""Data sets of torchvision, by name: their files as they are, or what they make as PNG."""

import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import BadSampleError, UserError
from . import Format, Peek, digest_of
from .folder import FolderSource
from .paths import shown
from .torchvision_listing import list_set, picture_of
from .torchvision_open import identify, open_set, short
from .torchvision_spec import Spec, read_spec

_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))
"""Of Pillow's: what a PNG file holds as it is."""
_ROWS = 1024
"""Pictures that are copied at a time, to be digested."""


class TorchvisionSource:
    """The pictures of a torchvision data set, in its own order.

    - Where the set keeps pictures as files, these are read as they are; the set itself is asked for
      their paths and labels once, and not used any more.
    - Else (CIFAR10, MNIST, SVHN, FakeData, ...) what it gives is encoded as PNG, without loss,
      whenever it is read: convert such a set before it is trained from. Each process opens the set
      for itself when it first reads, and holds what the set holds: often all pixels.

    Pickled, it is its name and the listing.
    """

    def __init__(self, path: str | Path, *, field: str = "data.path") -> None:
        """
        Args:
            path: `torchvision:NAME[,key=value...]`, see `torchvision_spec`.
            field: the configuration's field, named in errors.

        Raises:
            UserError: there is no such set, it is not there, or it is none of pictures each with a
                class number; names a remedy.
        """
        spec = read_spec(path, field=field)
        self.path = spec.text
        self._field = field
        dataset = open_set(spec, field=field)
        listing = list_set(dataset, told=f"{field}={shown(spec.text)}")
        self._spec = spec.listed
        self.labels = listing.labels
        """(N,) int64; -1 without a label."""
        self.classes = listing.classes
        self.left_out: tuple[tuple[str, int], ...] = ()
        self._files = None if listing.files is None else _as_folder(listing.files, self._spec)
        self._lock = threading.Lock()
        self._dataset: Any = None
        if self._files is None:
            self._dataset = dataset
            self._ends = self._digest_ends(dataset)
            self._number = int(digest_of(identify(self._spec).encode())[:12], 16)
            content = _digest_pixels(dataset, self._spec)
        else:
            content = self._files.digest
        names = map(str.encode, self.classes)
        self.digest = digest_of(content.encode(), self.labels.tobytes(), *names)

    @property
    def format(self) -> Format:
        return "torchvision"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        """The file's path below `root`, or the set's name and the picture's number."""
        return self._files.key(index) if self._files else f"{self._spec.name}:{int(index)}"

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the file, links followed; else of the set with its arguments, and `index`."""
        if self._files:
            return self._files.place(index)
        return -1, self._number, int(index)

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        if self._files:
            return self._files.peek(index, count)
        data = self.read(index)
        return Peek(len(data), data[:count], data[-2:])

    def read(self, index: int) -> bytes:
        """The file's bytes, or a PNG file of what the set gives."""
        if self._files:
            return self._files.read(index)
        with self._lock:  # sets seek in files of theirs, and FakeData sets torch's seed
            if self._dataset is None:
                self._dataset = self._open_again()
            return _encode(self._dataset, int(index))

    def _digest_ends(self, dataset: Any) -> str:
        return digest_of(*(_try_encode(dataset, index) for index in (0, len(self) - 1)))

    def _open_again(self) -> Any:
        """The set, in a process that got this source from another one."""
        dataset = open_set(self._spec, field=self._field, may_download=False)
        if len(dataset) != len(self) or self._digest_ends(dataset) != self._ends:
            raise UserError(
                f"{self._field}={shown(self.path)}: has changed since it was opened; start again"
            )
        return dataset


def _as_folder(files: list[str], spec: Spec) -> FolderSource:
    """The files, called by their paths below the root where all lie there."""
    root = spec.values["root"].rstrip("/")
    whole = [os.path.abspath(file) for file in files]  # noqa: PTH100 - links keep their names
    if not all(file.startswith(f"{root}/") for file in whole):
        root = ""
    keys = [os.fsencode(file[len(root) + 1 :]) for file in whole]
    return FolderSource(
        root=root,
        classes=(),
        labels=np.empty(len(keys), np.int64),  # counted, not read
        _paths=b"".join(keys),
        _ends=np.cumsum([len(key) for key in keys], dtype=np.int64),
    )


def _digest_pixels(dataset: Any, spec: Spec) -> str:
    """Of the array that holds the pixels, or of what the set is made with where there is none."""
    data: Any = getattr(dataset, "data", None)
    if not hasattr(data, "shape") or len(data) != len(dataset):
        values = {key: value for key, value in spec.values.items() if key != "root"}
        return digest_of(identify(spec._replace(values=values)).encode())
    digest = hashlib.sha256(repr(tuple(data.shape)).encode())
    for start in range(0, len(data), _ROWS):
        digest.update(np.ascontiguousarray(data[start : start + _ROWS]).data)
    return digest.hexdigest()


def _try_encode(dataset: Any, index: int) -> bytes:
    try:
        return _encode(dataset, index)
    except BadSampleError as error:
        return str(error).encode()


def _encode(dataset: Any, index: int) -> bytes:
    """A picture as PNG: the same bytes each time."""
    try:
        picture = picture_of(dataset[index])
    except Exception as error:  # each class raises its own
        raise BadSampleError(f"cannot be read ({short(error)})") from error
    if not isinstance(picture, Image.Image):
        raise BadSampleError("is no picture, though the set's first one is")
    if picture.mode not in _MODES:
        raise BadSampleError(f"is of Pillow's mode {picture.mode}, which no PNG file holds")
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
