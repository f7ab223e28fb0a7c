"""Where samples come from: each source reads (bytes, label, key) by index, in a sorted listing."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import UserError


class Source(Protocol):
    """A random-access listing of encoded pictures. Picklable; safe to read from many processes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted; empty where the samples have no labels."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64 positions in `classes`; -1 without a label."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> bytes:
        """The encoded picture. Raises BadSampleError where it cannot be read."""
        ...

    def key(self, index: int) -> str:
        """The sample's name, for messages and manifests."""
        ...


def open_source(path: str | Path, *, field: str = "data.path") -> Source:
    """Open a data set, recognised by looking at it.

    Args:
        path: a folder of class folders, a flat folder of pictures, or a `.beton` file.
        field: the configuration's field, named in errors.

    Raises:
        UserError: nothing is there, or nothing in it can be read.
    """
    from .folder import scan_folder

    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"{field}={path}: there is no such file or folder; check the path")
    if path.is_file() and path.suffix == ".beton":
        from .beton import BetonSource

        return BetonSource(path, field=field)
    if not path.is_dir():
        raise UserError(
            f"{field}={path}: not a folder; give a folder of class folders, or a .beton file"
        )
    return scan_folder(path, field=field)
