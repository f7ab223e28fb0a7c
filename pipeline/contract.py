"""What the parts of the pipeline hand to each other."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import torch

from .augment.spec import AugmentSpec, group_views
from .decoder_options import DecoderOptions
from .sources import Source
from .stages import Stages


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
    """One batch as an engine delivers it."""

    pixels: tuple[torch.Tensor, ...]
    """For each of `EngineOptions.blocks` its views one after another, in host memory or on the
    device: finished (B, 3, size, size), channels-last; or crops, (views * B, size, size, 3) uint8.
    """
    index: np.ndarray
    """(B,) int64: as asked for, but for replaced samples, and -1 for rows that are empty."""
    bad: list[BadSample] = field(default_factory=list)
    params: np.ndarray | None = None
    """(views, B) records of `sampler.PARAMS`: what is left to be done to crops; None: nothing."""
    ready: Any = None
    """A CUDA event behind which the pixels are there; None: they are."""

    @property
    def views(self) -> tuple[torch.Tensor, ...]:
        """The finished views."""
        assert self.params is None, "these are crops"
        return self.pixels

    def pin_memory(self, device: object = None) -> "Result":
        """In memory that the GPU reads by itself. torch's DataLoader calls this by its name."""
        return replace(self, pixels=tuple(block.pin_memory() for block in self.pixels))


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
    delivers: Literal["views", "crops"] = "views"
    """crops: colours, blur and normalisation are left to `delivery`, and so is the flip where the
    parameters still have one. Never with the oracle."""
    decoder: DecoderOptions = field(default_factory=DecoderOptions)
    stages: Stages | None = field(default=None, compare=False, repr=False)
    """Where the workers count their time; None: nowhere."""
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What an engine leaves for its successor of the same options."""

    @property
    def pixel_dtype(self) -> torch.dtype:
        """Of what the engine makes; `dtype` is that of the batch."""
        return torch.uint8 if self.delivers == "crops" else self.dtype

    @cached_property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the views that lie together in memory: crops that one launch finishes."""
        if self.delivers == "crops":
            return group_views(self.specs)
        return tuple((view,) for view in range(len(self.specs)))


class Engine(Protocol):
    """Reads, decodes, crops and augments."""

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        """Results in the order of the requests, which are drawn ahead of need.

        Called once in an engine's life. An error, or the death of a worker, is raised here.
        """
        ...

    def whereabouts(self) -> list[tuple[str, int]]:
        """Each worker that is at work, by name, and the index of the sample that it is at; asked
        when nothing comes. Empty where that is not known.
        """
        ...

    def close(self) -> None:
        """Stop all workers, those that hang within some seconds. Harmless when called twice."""
        ...
