"""What a folder without a manifest is, by a look at a few of its entries."""

import os
from pathlib import Path

from . import Format
from .cifar import is_cifar
from .kinds import EXTENSIONS, is_hidden
from .parquet_files import is_parquet

_LOOK = 1000
"""Entries at most, so that a folder of a million pictures without extensions opens as before."""


def look_into(folder: Path) -> Format:
    """The format of a folder: pictures, as soon as one entry is a picture or a folder.

    Then a table beside pictures or class folders (`metadata.parquet`) is no data set of its own;
    and of class folders only the first entry is seen. A folder that cannot be listed is left to
    whoever lists it.
    """
    formats: set[Format] = set()
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_LOOK), entries, strict=False):
                extension = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - no Path each
                if is_hidden(entry.name):
                    continue
                if extension in EXTENSIONS or entry.is_dir():
                    return "folder"
                if is_parquet(entry.name):
                    formats.add("parquet")
                elif is_cifar(folder / entry.name):
                    formats.add("cifar")
    except OSError:
        pass
    return formats.pop() if len(formats) == 1 else "folder"
