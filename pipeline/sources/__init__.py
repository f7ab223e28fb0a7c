"""Where samples come from: each source reads (bytes, label, key) by index, in a sorted listing."""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from ..errors import UserError

Format = Literal[
    "folder",
    "beton",
    "webdataset",
    "tfrecord",
    "recordio",
    "parquet",
    "cifar",
    "tar",
    "torchvision",
]
"""What a data set is kept as."""


class Peek(NamedTuple):
    """What tells the kind of a file without reading it whole."""

    size: int
    """Bytes of all."""
    head: bytes
    tail: bytes
    """The last two bytes."""


class Source(Protocol):
    """A random-access listing of encoded pictures. Picklable; safe to read from many processes."""

    @property
    def format(self) -> Format:
        """What it is kept as."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted; empty where the samples have no labels."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64 positions in `classes`; -1 without a label."""
        ...

    @property
    def left_out(self) -> tuple[tuple[str, int], ...]:
        """What lies in the data set and was not listed, sorted; empty where nothing was.

        Each is a reason in words that follow a count ("links that lead nowhere"), and the count.
        """
        ...

    @property
    def digest(self) -> str:
        """Of the listing, names and labels: equal where the same pictures are listed."""
        ...

    def __len__(self) -> int: ...

    def place(self, index: int) -> tuple[int, int, int]:
        """Where a picture lies: device, file and offset, equal for two names of one picture.

        Raises BadSampleError where it cannot be found.
        """
        ...

    def read(self, index: int) -> bytes:
        """The encoded picture. Raises BadSampleError where it cannot be read."""
        ...

    def peek(self, index: int, count: int) -> Peek:
        """Size, the first `count` bytes and the end of `read`. Raises as it does."""
        ...

    def key(self, index: int) -> str:
        """The sample's name, for messages and manifests."""
        ...


def digest_of(*parts: bytes) -> str:
    """For `Source.digest`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def recognise(path: str | Path, *, field: str = "data.path") -> Format:
    """The format of a data set, by a look at its outside.

    Args:
        path: of `open_source`.
        field: the configuration's field, named in errors.

    Raises:
        UserError: nothing is there, or it is no data set.
    """
    return _look(path, field)[1]


def open_source(path: str | Path, *, field: str = "data.path") -> Source:
    """Open a data set, recognised by looking at it.

    Args:
        path: a folder of class folders, a flat folder of pictures, a `.beton` file, a folder of
            shards with its manifest, a `.parquet` file or a folder of them, CIFAR's own files,
            a `.tar` archive of pictures, of class folders or of archives, or the name of a
            torchvision data set (`torchvision:NAME[,key=value...]`, see `torchvision_spec`).
        field: the configuration's field, named in errors.

    Raises:
        UserError: nothing is there, it is no data set, or nothing in it can be read.
    """
    found, data_format = _look(path, field)
    if data_format == "beton":
        from .beton import BetonSource

        return BetonSource(found, field=field)
    if data_format == "parquet":
        from .parquet import ParquetSource

        return ParquetSource(found, field=field)
    if data_format == "cifar":
        from .cifar import CifarSource

        return CifarSource(found, field=field)
    if data_format == "tar":
        from .tar import TarSource

        return TarSource(found, field=field)
    if data_format == "torchvision":
        from .torchvision_sets import TorchvisionSource

        return TorchvisionSource(found, field=field)
    if data_format != "folder":
        from .shards import ShardSource

        return ShardSource(found, field=field)
    from .folder import scan_folder

    return scan_folder(found, field=field)


def _look(path: str | Path, field: str) -> tuple[Path, Format]:
    from .cifar import is_cifar
    from .parquet_files import SUFFIX, is_part
    from .paths import find, shown, why_not_beton
    from .tar import is_tar
    from .torchvision_spec import is_spec, read_spec

    if is_spec(path):
        return Path(read_spec(path, field=field).text), "torchvision"
    if is_part(path):
        return Path(path).expanduser(), "parquet"
    found, is_folder = find(path, field=field)
    if is_folder:
        return found, _look_into(found)
    if found.suffix == ".beton":
        return found, "beton"
    if found.suffix == SUFFIX:
        return found, "parquet"
    if is_cifar(found):
        return found, "cifar"
    if is_tar(found):
        return found, "tar"
    raise UserError(f"{field}={shown(found)}: {why_not_beton(found)}")


def _look_into(folder: Path) -> Format:
    """The format of a folder: its manifest says it, or else a look at a few of its entries."""
    from .look import look_into
    from .manifest import paths_of, read_format

    head, _ = paths_of(folder)
    return read_format(head) if head.is_file() else look_into(folder)
