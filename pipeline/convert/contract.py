"""What the parts of a conversion hand to each other.

A conversion is planned whole before a byte of it is written: where everything lies follows from
lengths, labels and names alone. Workers then fill in the parts in any order, and the bytes are the
same for any number of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from ..sources.manifest import JPEG, PNG, RAW

KINDS = {JPEG: "JPEG", RAW: "raw pixels", PNG: "PNG"}
"""How pictures are stored, in words."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What decides the bytes of the result."""

    to: str
    """Name of the format."""
    mode: str = "smart"
    """Of a beton: smart, jpg or raw, see `examine.choose_rules`."""
    quality: int = 95
    """Of JPEGs that are made."""
    max_side: int | None = None
    """Larger pictures are made smaller, px."""
    apply_exif: bool = False
    """Turn pictures upright."""
    normalise_jpeg: bool = False
    """Rewrite progressive JPEGs as baseline ones."""
    page_size: int | None = None
    """Of a beton, bytes."""
    shard_size: int = 256_000_000
    """Bytes."""
    seed: int = 0
    """Of the order."""


STORED = np.dtype(
    [
        ("index", "<i8"),
        ("label", "<i8"),
        ("kind", "u1"),
        ("length", "<i8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("pieces", "<i4"),
    ]
)
"""A picture that will be stored; the columns of the manifest have the same names."""


@dataclass(slots=True)  # frozen, it would take four times as long to make
class Sample:
    """One record of `STORED`."""

    index: int
    label: int
    kind: int
    length: int
    width: int
    height: int
    pieces: int


class Part(NamedTuple):
    """A range of a file, written by one worker and checked by one checksum.

    What lies between its samples, and behind the last, is zeros.
    """

    file: int
    begin: int
    end: int
    first: int
    """Its samples, in the order in which they are stored."""
    last: int
    """The one behind."""
    fixed: str = ""
    """Instead of samples: what `ShardFormat.fixed` calls it."""


@dataclass(frozen=True)
class Layout:
    """Where everything will lie."""

    names: tuple[str, ...]
    """Of the files."""
    sizes: tuple[int, ...]
    """Of the files, in bytes."""
    shard: np.ndarray
    """(N,) int64: each sample's file."""
    start: np.ndarray
    """(N,) int64: where its frame begins in the file."""
    offset: np.ndarray
    """(N,) int64: where the picture itself does."""
    parts: tuple[Part, ...]


class ShardFormat(Protocol):
    """A layout of bytes. All of it is a pure function of the samples."""

    name: str
    takes_png: bool
    """Whether its readers take PNG files."""
    largest: int
    """Bytes of a picture."""

    def count_pieces(self, data: bytes) -> int:
        """In how many pieces a picture is stored. More than 1 in RecordIO alone."""
        ...

    needs_content: bool
    """Whether `count_pieces` is to be asked."""

    def overhead(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) int64 each: bytes of each frame before and behind the picture.

        Args:
            samples: (N,) records of `STORED`.
        """
        ...

    def plan(self, samples: np.ndarray, *, name: str, shard_size: int) -> Layout:
        """Where all will lie.

        Args:
            samples: (N,) records of `STORED`, N ≥ 1, in the order to be stored.
            name: of the data set.
            shard_size: bytes that a shard should not be larger than.
        """
        ...

    def frame(self, sample: Sample, picture: bytes | memoryview) -> list[bytes | memoryview]:
        """All bytes of a sample, the picture among them, in pieces."""
        ...

    def fixed(self, what: str, samples: np.ndarray, layout: Layout) -> bytes:
        """The contents of a part without samples."""
        ...

    def indexes(self, samples: np.ndarray, layout: Layout) -> Iterable[tuple[str, bytes]]:
        """Files that others' readers need beside the shards: (name, content)."""
        ...
