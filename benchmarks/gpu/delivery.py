"""The way to the device: is memory pinned, does nothing wait, are the views the oracle's?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ...pipeline import engines
from ...pipeline.augment.spec import AugmentConfig, build_train_specs
from ...pipeline.building import build_loader
from ...pipeline.contract import Batch, EngineOptions, Request
from ...pipeline.engines import RESIDENT, installed
from ...pipeline.loader import Loader
from ...pipeline.sources import open_source
from ..parity import CROP_LIMITS, VIEW_LIMITS
from .context import Context, Record
from .pictures import find_pictures

_BATCH = 32
_NUM_BATCHES = 4


def build(context: Context, engine: str, **changes: Any) -> Loader:
    """A training loader of a few pictures."""
    source = open_source(find_pictures(context))
    settings = {
        "source": source,
        "specs": build_train_specs(AugmentConfig(size=context.sizes.size)),
        "global_batch_size": min(_BATCH, context.sizes.batch),
        "train": True,
        "device": context.device,
        "num_workers": 2,
        "indices": np.arange(min(_NUM_BATCHES * _BATCH, len(source))),
        "engine": engine,
    }
    return build_loader(**(settings | changes))


def delivery(context: Context) -> Iterator[Record]:
    """Each engine, views and crops, against the float64 oracle on the CPU."""
    with build(context, installed()[0], device="cpu", ops="oracle") as oracle:
        expected = list(oracle)
    for engine in (*installed(), RESIDENT):
        for delivers in ("crops",) if engine == RESIDENT else ("views", "crops"):
            name = f"{engine}, {delivers}"
            try:
                yield from _examine(context, engine, delivers, expected)
            except Exception as error:  # the next engine may work
                yield context.check(name, False, error=f"{type(error).__name__}: {error}"[:500])


def _examine(
    context: Context, engine: str, delivers: str, expected: list[Batch]
) -> Iterator[Record]:
    name = f"{engine}, {delivers}"
    with build(context, engine, delivers=delivers) as loader:
        made = list(loader)
        pinned = _is_pinned(context, engine, loader.options)
    yield context.check(f"{name}: pinned or on the device", pinned)
    errors = torch.cat([_errors(*pair) for pair in zip(made, expected, strict=True)])
    limits = CROP_LIMITS if delivers == "crops" else VIEW_LIMITS
    mean, worst = float(errors.mean()), float(errors.max())
    holds = mean <= limits[0] and worst <= limits[1]
    yield context.check(f"{name}: against the oracle", holds, mean=mean, worst=worst, limits=limits)
    if context.is_cuda:
        yield _look_for_waits(context, engine, delivers)


def _is_pinned(context: Context, name: str, options: EngineOptions) -> bool | None:
    """Whether what an engine delivers lies where the GPU reads it by itself."""
    if not context.is_cuda:
        return None
    engine = engines.build(name, options)
    request = Request(0, np.arange(options.batch_size))
    result = next(engine.stream(iter([request])))
    engine.close()
    return all(block.is_cuda or block.is_pinned() for block in result.pixels)


def _errors(made: Batch, expected: Batch) -> torch.Tensor:
    """(views * B,) mean difference before normalisation, in 1/255."""
    assert made.index.tolist() == expected.index.tolist(), "other samples"
    std = torch.tensor(build_train_specs(AugmentConfig(size=8))[0].normalize.std)[:, None, None]
    pairs = zip(made.views, expected.views, strict=True)
    differences = (255 * std * (view.cpu().double() - other) for view, other in pairs)
    return torch.cat([difference.abs().mean((1, 2, 3)) for difference in differences])


def _look_for_waits(context: Context, engine: str, delivers: str) -> Record:
    """In the trainer's thread, once the first batches are there."""
    name = f"{engine}, {delivers}: no wait"
    with build(context, engine, delivers=delivers) as loader:
        batches = iter(loader)
        next(batches)  # compiled and loaded
        try:
            with context.waits_refused():
                for batch in batches:
                    batch.views[0].sum()
        except RuntimeError as error:
            return context.check(name, False, error=str(error)[:500])
    return context.check(name, True)
