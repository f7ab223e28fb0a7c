"""What the DALI engine works on: samples as read, and pieces of batches."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..augment.cpu import as_pixels
from ..augment.sampler import PARAMS
from ..contract import BadSample, EngineOptions, Request, Result
from ..decode import decode_rgb
from ..errors import BadSampleError
from ..sources import Source
from .dali_plain import Plain, as_plain


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


class Batch:
    """One request and what has become of it. Each row is written by one thread at a time."""

    def __init__(self, request: Request, options: EngineOptions) -> None:
        count = len(request.indices)
        self.request = request
        self.views = tuple(
            torch.empty(
                (count, spec.size, spec.size, 3),
                dtype=options.dtype,
                pin_memory=options.device.type == "cuda",
            ).permute(0, 3, 1, 2)
            for spec in options.specs
        )
        """For the caller."""
        self.pixels = [as_pixels(view) for view in self.views]
        """The same memory, as the kernel wants it."""
        self.params = np.zeros((len(options.specs), count), PARAMS)
        self.index = request.indices.copy()
        self.bad: list[list[BadSample]] = [[] for _ in range(count)]

    def result(self) -> Result:
        """The batch as the contract has it."""
        return Result(self.views, self.index, [bad for row in self.bad for bad in row])


@dataclass
class Piece:
    """Some rows of a batch: what DALI decodes at a time."""

    batch: Batch
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
    """Read one sample; a failure to do so is met again, and named, by `decode_next`.

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


def decode_next(
    options: EngineOptions, sample: Sample, bad: list[BadSample]
) -> tuple[int, np.ndarray | None]:
    """Decode without DALI: the sample, or the next readable one in the listing, or nothing.

    More failures than the budget allows need no further tries: the loader ends the run on them.

    Args:
        options: of the engine.
        sample: as read.
        bad: gets the samples that could not be used.

    Returns:
        index and (H, W, 3) uint8; (-1, None) for an empty row.
    """
    if sample.index < 0:
        return -1, None
    source = options.source
    tries = 1 if options.max_bad_samples is None else options.max_bad_samples + 1
    for step in range(min(tries, len(source))):
        index = (sample.index + step) % len(source)
        try:
            data = sample.data if step == 0 and sample.data else source.read(index)
            return index, decode_rgb(data)
        except BadSampleError as error:
            bad.append(BadSample(index, source.key(index), str(error)))
    return -1, None
