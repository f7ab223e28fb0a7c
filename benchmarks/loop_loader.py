"""The loader that `bench loop` measures: asked for rounds, by a steady consumer, by a trainer."""

import argparse
import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model.method import ModelConfig, build_method
from ..pipeline.augment.spec import AugmentConfig, build_train_specs
from ..pipeline.building import build_loader
from ..pipeline.contract import Batch, Request
from ..pipeline.engines import ENGINES
from ..pipeline.engines.ffcv.engine import FfcvEngine
from ..pipeline.engines.ffcv.makers import LoopRows
from ..pipeline.engines.ffcv.threads import Crew
from ..pipeline.errors import BadSampleError, UserError
from ..pipeline.loader import Loader
from ..pipeline.machine import num_cores
from ..pipeline.order import choose_indices
from ..pipeline.sources import Source, open_source
from ..train.lanes import Lanes, build_step
from ..train.optim import OptimConfig
from ..train.step import TrainStep
from .inputs import endless
from .loop_rows import Cost, Field, settle
from .results import Record
from .spread import spread

_PICTURES = 4096  # of a set, at most: they must stay in the page cache
_EPOCH = 16  # batches between two boundaries
_NEAR = 2  # batches on either side of one
_SLOWER = 1.25  # a consumer's step over the loader's period
_STEP_IMAGES = 16  # at most: one of 224 px has some 200 MB of saved tensors
_STEPS = 2  # in a round
_BACKBONE = "cifar_resnet18_w16"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One set of pictures, and what is asked of it."""

    source: Source
    indices: np.ndarray
    """Of the pictures that are used."""
    batch_size: int
    size: int
    num_workers: int
    rounds: int
    images: int

    def build(self, **changes: Any) -> Loader:
        """The loader, in bf16 unless told otherwise."""
        told = {
            "global_batch_size": self.batch_size,
            "indices": self.indices,
            "dtype": torch.bfloat16,
            "num_workers": self.num_workers,
        }
        specs = build_train_specs(AugmentConfig(size=self.size))
        return build_loader(
            source=self.source, specs=specs, train=True, engine="ffcv", **(told | changes)
        )

    def record(self, name: str, work: str, *, scope: str = "loader", **figures: Any) -> Record:
        """One contestant's."""
        return {
            "scope": scope,
            "engine": "ffcv",
            "name": name,
            "num_workers": self.num_workers,
            "batch_size": self.batch_size,
            "size": self.size,
            "work": work,
            **figures,
        }


def open_setting(path: Path, args: argparse.Namespace) -> Setting:
    """Open a source, and read its pictures once, so that they lie in the page cache.

    Raises:
        UserError: it cannot be opened, something is not installed, or a batch has more pictures.
    """
    source = open_source(str(path))
    for need in ENGINES["ffcv"].missing({source.format}):
        need.check("ffcv")
    indices = choose_indices(len(source), limit=_PICTURES, seed=0)
    if len(indices) < args.batch_size:
        raise UserError(
            f"--batch-size={args.batch_size}: larger than the set of {len(indices)} pictures that "
            f"are used of {path}; give a smaller one"
        )
    for index in indices.tolist():
        with contextlib.suppress(BadSampleError):  # the loader names it
            source.read(index)
    return Setting(
        source=source,
        indices=indices,
        batch_size=args.batch_size,
        size=args.size,
        num_workers=args.workers,
        rounds=args.rounds,
        images=args.images,
    )


class Asked:
    """A loader that is asked for batches, round by round."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self._batches = endless(loader)
        next(self._batches)
        crew = _crew_of(loader)
        self._chunk = crew._chunk
        self._ahead = crew._ahead
        # What it makes in a round is ahead of what it gives.
        self._requests = itertools.islice(loader._requests(0, 0), 1 + self._ahead, None)

    def build_field(self) -> Field:
        """What is raced against it."""
        return Field(self.loader.options, chunk=self._chunk)

    def draw(self, images: int) -> list[Request]:
        """What the next `run` of as many images will make. Once for each."""
        return list(itertools.islice(self._requests, self._ahead + self._count(images)))

    def run(self, images: int) -> Cost:
        """One round, from full queues to full queues; the rate without what lay ready."""
        before = settle()
        for _ in range(self._ahead):
            next(self._batches)
        started, count = time.perf_counter(), self._count(images)
        for _ in range(count):
            next(self._batches)
        seconds = time.perf_counter() - started
        core_s, size = settle() - before, self.loader.options.batch_size
        return Cost(
            images_per_s=count * size / seconds,
            core_ms_per_image=1000 * core_s / (size * (self._ahead + count)),
        )

    def _count(self, images: int) -> int:
        return -(-images // self.loader.options.batch_size)


def _crew_of(loader: Loader) -> Crew[LoopRows]:
    engine = loader._engine
    assert isinstance(engine, FfcvEngine)
    assert engine._crew is not None
    return engine._crew


def boundary(setting: Setting) -> Iterator[Record]:
    """The longest waits of a consumer that is a little slower than the loader."""
    used = setting.indices[: _EPOCH * setting.batch_size]
    with setting.build(indices=used) as loader:
        each, batches = loader.batches_per_epoch, endless(loader)
        _consume(batches, each, step_s=0)
        started = time.perf_counter()
        _consume(batches, each, step_s=0)
        step_s = _SLOWER * (time.perf_counter() - started) / each
        settle()
        waits = _consume(batches, setting.rounds * each + max(each // 2, _NEAR), step_s=step_s)
    steps = np.array(waits) / step_s
    starts = range(each, (setting.rounds + 1) * each, each)  # of all epochs but the first
    near = [float(steps[max(at - _NEAR, 0) : at + _NEAR].max()) for at in starts]
    between = [steps[at - each + _NEAR : at - _NEAR] for at in starts]
    elsewhere = [float(some.max()) for some in between if some.size]
    yield setting.record(
        "boundary",
        f"longest wait, in steps, within {_NEAR} batches of a boundary; a step is "
        f"{_SLOWER} periods of the loader; {each} batches in an epoch",
        scope="loop",
        boundary_wait_steps=spread(near),
        elsewhere_wait_steps=spread(elsewhere) if elsewhere else None,
        longest_boundary_wait_steps=round(max(near), 3),
        longest_elsewhere_wait_steps=round(max(elsewhere), 3) if elsewhere else None,
        step_ms=round(1000 * step_s, 3),
    )


def _consume(batches: Iterator[Any], count: int, *, step_s: float) -> list[float]:
    """Take so many batches, each for so long; returns the seconds waited for each."""
    waits = []
    for _ in range(count):
        asked = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        waits.append(ready - asked)
        time.sleep(max(ready + step_s - time.perf_counter(), 0))
        del batch  # held for the step, as a trainer does
    return waits


def step(setting: Setting) -> Iterator[Record]:
    """A training step fed by the loader, over one on a cached batch while the loader rests."""
    count, threads = min(setting.batch_size, _STEP_IMAGES), torch.get_num_threads()
    alone, fed = [], []
    torch.set_num_threads(num_cores())
    try:
        train = _build_step()
        with setting.build(dtype=torch.float32, global_batch_size=count) as loader:
            batches = endless(loader)
            cached = next(batches)
            _train(train, itertools.repeat(cached))
            for _ in range(setting.rounds):
                settle()
                alone.append(_train(train, itertools.repeat(cached)))
                settle()
                fed.append(_train(train, batches))
    finally:
        torch.set_num_threads(threads)
    ratio = [a / b for a, b in zip(fed, alone, strict=True)]
    yield setting.record(
        "step",
        f"{_BACKBONE}, float32, {num_cores()} threads, fed with full queues over a cached batch",
        scope="loop",
        step_ms=spread(fed),
        cached_step_ms=spread(alone),
        step_with_loader_over_cached=spread(ratio),
    ) | {"batch_size": count}


def _build_step() -> TrainStep:
    torch.manual_seed(0)
    model = build_method(ModelConfig(backbone=_BACKBONE))
    return build_step(model, OptimConfig(), Lanes(channels_last=True, fused=True), lr=0.05)


def _train(train: TrainStep, batches: Iterator[Batch]) -> float:
    """A few steps; ms of each."""
    started = time.perf_counter()
    for batch in itertools.islice(batches, _STEPS):
        train(batch.views, batch.label)
    return 1000 * (time.perf_counter() - started) / _STEPS
