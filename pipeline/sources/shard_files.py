"""Which files of a folder are shards, by how they begin: train-00000-of-01024 does not tell."""

import re
import shlex
from pathlib import Path

from . import Format
from .paths import shown
from .recordio_format import MAGIC
from .tar_format import BLOCK, looks_like_tar
from .tfrecord_format import has_sound_length

_SUFFIXES = (".tar", ".tfrecord", ".tfrecords", ".rec")
_NUMBERED = re.compile(r"-\d+-of-\d+$")
_LOOK = 10
"""Files at most."""


def kind_of(head: bytes) -> Format | None:
    """What a file is that begins so.

    Args:
        head: its first `BLOCK` bytes, or all there are.
    """
    if looks_like_tar(head):
        return "webdataset"
    if head.startswith(MAGIC):
        return "recordio"
    return "tfrecord" if has_sound_length(head) else None


def read_kind(path: Path) -> Format | None:
    """`kind_of` a file; None where it is no regular one. Raises OSError."""
    if not path.is_file():
        return None
    with open(path, "rb", buffering=0) as file:
        head = file.read(BLOCK)
    return kind_of(head)


def has_shard_name(path: Path) -> bool:
    """Whether a file is called as shards mostly are."""
    return path.suffix.lower() in _SUFFIXES or _NUMBERED.search(path.name) is not None


def why_not_shards(folder: Path) -> str | None:
    """What to do with a folder of shards that has no manifest, in words; None where it is none."""
    try:
        names = sorted(path for path in folder.iterdir() if has_shard_name(path))
        kind = next((kind for path in names[:_LOOK] if (kind := read_kind(path))), None)
    except OSError:
        return None  # whoever lists it tells that
    if kind is None:
        return None
    plain = kind == "webdataset" and len(names) == 1
    return (
        f"{len(names):,} shards ({kind}) without a manifest; index them once: "
        f"swiftsiam index {shlex.quote(str(folder))}"
        + (f"; or give {shown(names[0])}, if it holds class folders" if plain else "")
    )
