"""What the readers of shards hand to the index."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from .sequential import Sequential

LARGEST = 1 << 30
"""Bytes of a record that is looked into; no picture is larger."""
TOO_LARGE = "records of 1 GiB or more"
NO_PICTURE = "records without a picture"
NO_LABEL = "labels that are no class number (used without a label)"
LARGEST_LABEL = 1_000_000


class DamagedShardError(Exception):
    """What follows in this shard cannot be found any more. The text follows the shard's name."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What the parts of a record are called: extensions of webdataset, features of TFRecord."""

    picture: str | None = None
    label: str | None = None


class Record(NamedTuple):
    """A picture in a shard."""

    key: str
    number: int
    """Its own number in the record; -1: none."""
    label: int
    """-1: none."""
    class_name: str
    offset: int
    """Its first byte in the shard."""
    pieces: int
    """In how many it lies there; more than 1 in RecordIO alone."""
    picture: bytes


@dataclass
class Notes:
    """What is told of a shard beside its records."""

    left_out: Counter[str] = field(default_factory=Counter)
    """By reason, in words that follow a count."""
    damaged: list[tuple[str, str]] = field(default_factory=list)
    """(record, reason)."""


class Read(Protocol):
    """A reader of one format."""

    def __call__(self, shard: Sequential, fields: Fields, notes: Notes) -> Iterator[Record]:
        """The records of a shard that hold a picture, in the order in which they are stored.

        Raises:
            DamagedShardError: it is cut off, or its frames are damaged.
        """
        ...


def as_label(value: float, notes: Notes) -> int:
    """A class number; -1, and noted, where it is none."""
    if value == -1:  # how our own writers tell that there is none
        return -1
    if 0 <= value <= LARGEST_LABEL and value == int(value):
        return int(value)
    notes.left_out[NO_LABEL] += 1
    return -1
