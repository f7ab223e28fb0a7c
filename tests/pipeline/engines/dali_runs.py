"""Batches of the DALI engine beside those of the torchvision engine, for the tests."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from swiftsiam.pipeline import engines
from swiftsiam.pipeline.augment.spec import (
    IMAGENET_STD,
    AugmentConfig,
    build_eval_spec,
    build_train_specs,
)
from swiftsiam.pipeline.contract import BadSample, EngineOptions, Request, Result
from swiftsiam.pipeline.delivery import Delivery
from swiftsiam.pipeline.engines import torchvision_engine
from swiftsiam.pipeline.sources import Source

SIZE = 40
CONFIG = AugmentConfig(size=SIZE)
TRAIN = build_train_specs(CONFIG)
EVAL = (build_eval_spec(CONFIG),)


def options_for(source: Source, **changes: object) -> EngineOptions:
    options = EngineOptions(
        source=source,
        specs=TRAIN,
        seed=7,
        batch_size=9,
        dtype=torch.float32,
        device=torch.device("cpu"),
        num_workers=2,
        max_bad_samples=3,
    )
    return dataclasses.replace(options, **changes)


def requests(count: int, batch_size: int = 9, epoch: int = 2) -> Iterator[Request]:
    for start in range(0, count, batch_size):
        yield Request(epoch, np.arange(start, min(start + batch_size, count)))


def by_dali(options: EngineOptions, asked: Iterator[Request]) -> list[Result]:
    engine = engines.build("dali", options)
    try:
        return list(engine.stream(asked))
    finally:
        engine.close()


def by_dalis_crops(options: EngineOptions, asked: Iterator[Request]) -> list[Result]:
    """As on a GPU: DALI's crops, of which the delivery makes the views."""
    options = dataclasses.replace(options, delivers="crops")
    results = by_dali(options, asked)
    delivery = Delivery(options, labels=torch.zeros(len(options.source) + 1, dtype=torch.int64))
    batches = [delivered.batch for delivered in delivery.deliver(iter(results))]
    return [
        Result(batch.views, result.index, result.bad)
        for batch, result in zip(batches, results, strict=True)
    ]


def by_torchvision(options: EngineOptions, asked: Iterator[Request]) -> list[Result]:
    return list(torchvision_engine.build(dataclasses.replace(options, num_workers=0)).stream(asked))


def names(bad: list[BadSample]) -> list[tuple[int, str, str]]:
    # Some of Pillow's messages end with the address of an object.
    return [(sample.index, sample.key, sample.reason.split(" <")[0]) for sample in bad]


def assert_equal(ours: list[Result], theirs: list[Result]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.index, other.index)
        assert names(mine.bad) == names(other.bad)
        for view, expected in zip(mine.views, other.views, strict=True):
            assert view.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(view, expected)


def errors_per_image(ours: list[Result], theirs: list[Result]) -> torch.Tensor:
    """Mean absolute difference of each image before normalisation, of 255."""
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    pairs = [
        (mine, other)
        for a, b in zip(ours, theirs, strict=True)
        for mine, other in zip(a.views, b.views, strict=True)
    ]
    return torch.cat([((a - b) * std * 255).abs().mean((1, 2, 3)) for a, b in pairs])
