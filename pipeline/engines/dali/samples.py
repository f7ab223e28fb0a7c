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
    image: np.ndarray | None = None
    """The picture that DALI made, (H, W, 3) uint8, where the kernel makes the views of it."""


@dataclass
class Piece:
    """Neighbouring rows of a batch: what DALI decodes at a time."""

    rows: Rows
    samples: list[Sample]
    is_last: bool
    """Whether the batch ends with it."""
    encoded: list[Sample] = field(init=False)
    """The samples for DALI, in the order of the rows."""
    error: Exception | None = None
    """DALI's."""
    owner: Any = None
    """Of the images' memory."""

    def __post_init__(self) -> None:
        self.encoded = [sample for sample in self.samples if sample.plain is not None]

    @property
    def start(self) -> int:
        """Its first row."""
        return self.samples[0].row

    @property
    def stop(self) -> int:
        """Behind its last row."""
        return self.samples[-1].row + 1


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
