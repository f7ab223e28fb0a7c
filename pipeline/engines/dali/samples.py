"""What the DALI engine works on: samples as read, and pieces of batches."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BadSampleError
from ...sources import Source
from ..rows import Rows
from .plain import Plain, as_plain


@dataclass
class Sample:
    """One row of a batch on its way."""

    row: int
    """Position in the batch."""
    index: int
    """As asked for; -1: an empty row."""
    data: bytes = b""
    """The file; empty where it could not be read."""
    plain: Plain | None = None
    """What DALI decodes; None where `decode_rgb` has to."""
    images: list[np.ndarray] | None = None
    """What DALI made: one picture (H, W, 3), or one crop (size, size, 3) for each view; uint8."""


@dataclass
class Piece:
    """Some rows of a batch: what DALI decodes at a time."""

    rows: Rows
    samples: list[Sample]
    is_last: bool
    """Whether the batch ends with it."""
    encoded: list[Sample] = field(init=False)
    """The samples for DALI, in the order in which it is given them."""
    error: Exception | None = None
    """DALI's."""
    owners: list[Any] = field(default_factory=list)
    """Of the images' memory."""

    def __post_init__(self) -> None:
        self.encoded = [sample for sample in self.samples if sample.plain is not None]


def read_sample(source: Source, row: int, index: int, *, suspects: set[int]) -> Sample:
    """Read one sample; a failure to do so is met again, and named, by `RowMaker`.

    Args:
        source: of the engine.
        row: of the batch.
        index: -1 for an empty row.
        suspects: indices that DALI is not to be given again.
    """
    if index < 0:
        return Sample(row, index)
    try:
        data = source.read(index)
    except BadSampleError:
        return Sample(row, index)
    return Sample(row, index, data, None if index in suspects else as_plain(data))
