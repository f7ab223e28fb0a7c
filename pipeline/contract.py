"""What the parts of the pipeline hand to each other."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch

from .augment.spec import AugmentSpec
from .sources import Source


@dataclass(frozen=True)
class Batch:
    """What a loader yields. The tensors are the caller's own: nothing writes to them later."""

    views: tuple[torch.Tensor, ...]
    """Each (B, 3, size, size), channels-last, normalised, on the training device."""
    label: torch.Tensor
    """(B,) int64 class numbers; -1 without a label."""
    index: torch.Tensor
    """(B,) int64 positions in the source's sorted listing; -1 for padding (evaluation only)."""

    @property
    def mask(self) -> torch.Tensor:
        """(B,) bool: which rows are samples, not padding."""
        return self.index >= 0


@dataclass(frozen=True)
class Request:
    """One batch to be made: the engine adds nothing of its own to it."""

    epoch: int
    indices: np.ndarray
    """(B,) int64; -1 asks for an empty row."""


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be used, and why."""

    index: int
    key: str
    reason: str


@dataclass(frozen=True)
class Result:
    """One batch as an engine delivers it; views on the engine's device."""

    views: tuple[torch.Tensor, ...]
    index: np.ndarray
    """(B,) int64: as asked for, but for replaced samples, and -1 for rows that are empty."""
    bad: list[BadSample] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """All that an engine is told. Equal options and requests give equal batches."""

    source: Source
    specs: tuple[AugmentSpec, ...]
    """One for each view."""
    seed: int
    batch_size: int
    """Of this process."""
    dtype: torch.dtype
    device: torch.device
    num_workers: int
    max_bad_samples: int | None
    """A bad sample gives its place to the next one in the listing, of which no more than this
    many may be bad in turn; None (evaluation): it leaves an empty row."""
    ops: Literal["kernel", "oracle"] = "kernel"


class Engine(Protocol):
    """Reads, decodes, crops and augments."""

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        """Results in the order of the requests, which are drawn ahead of need.

        Called once in an engine's life. An error, or the death of a worker, is raised here.
        """
        ...

    def close(self) -> None:
        """Stop all workers. Harmless when called twice."""
        ...
