"""What is slowed on purpose is what the verdict names; and rounds count what they say."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from swiftsiam.benchmarks.bounds import Figures
from swiftsiam.benchmarks.rounds import LoaderRounds, complete, mean_stages, take_steps
from swiftsiam.benchmarks.verdict import judge
from swiftsiam.pipeline.augment.cpu import ViewKernel
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.engines import ENGINES, rows
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.folder import FolderSource
from swiftsiam.pipeline.stages import STAGES, Stages

BuildRounds = Callable[..., LoaderRounds]


@pytest.fixture
def build_rounds(class_folder: Path) -> Iterator[BuildRounds]:
    """(num_workers) → a loader of four pictures a batch, by the engine that needs nothing."""
    made = []

    def build_rounds(num_workers: int = 0) -> LoaderRounds:
        loader = build_loader(
            source=open_source(class_folder),
            specs=build_train_specs(AugmentConfig(size=128)),
            global_batch_size=4,
            train=True,
            engine="torchvision",
            num_workers=num_workers,
            stages=Stages(num_workers=num_workers),
        )
        made.append(loader)
        return LoaderRounds(loader)

    yield build_rounds
    for loader in made:
        loader.close()


def repeated(function: Callable, times: int) -> Callable:
    def repeat(*args: object) -> object:
        for _ in range(times - 1):
            function(*args)
        return function(*args)

    return repeat


def slow_decode(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rows, "decode_rgb", repeated(rows.decode_rgb, 100))


def slow_views(patch: pytest.MonkeyPatch) -> None:
    """Within the kernel's call, whose time is told as that of its two stages."""
    patch.setattr(ViewKernel, "__call__", repeated(ViewKernel.__call__, 100))


def slow_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FolderSource, "read", repeated(FolderSource.read, 1000))


@pytest.mark.parametrize(
    ("slow", "named"),
    [(slow_decode, "decode"), (slow_views, "views"), (slow_read, "read")],
    ids=["decode", "views", "read"],
)
def test_the_stage_that_is_slowed_is_named(
    build_rounds: BuildRounds, monkeypatch: pytest.MonkeyPatch, slow: Callable, named: str
) -> None:
    slow(monkeypatch)
    taken = build_rounds().take(4)
    figures = Figures(
        cores=1,
        num_workers=1,
        loader_rate=taken.images_per_s,
        loader_core_ms=taken.core_ms,
        stages=mean_stages([taken]),
    )
    verdict = judge(figures)
    assert verdict.limit == named
    assert verdict.share_percent > 50


@pytest.mark.slow
def test_images_are_counted_once_with_worker_processes(build_rounds: BuildRounds) -> None:
    taken = build_rounds(num_workers=1).take(40)
    assert taken.images_per_s > 0
    assert taken.core_ms > 0  # of the worker, which is another process
    assert set(taken.stages) == {*STAGES, "rest"}


def test_a_step_is_fed_each_batch_once_and_waits_are_told(build_rounds: BuildRounds) -> None:
    rounds, seen = build_rounds(), []

    def step(batch: Batch) -> None:
        seen.append(batch.index)

    told = rounds.feed(step, 5)
    assert len(seen) == 4 + 5  # what may lie ready, then the round
    assert len({index.data_ptr() for index in seen}) == len(seen)
    assert 0 < told.wait_percent <= 100  # nobody works ahead: all but the step is waiting
    cached = take_steps(step, rounds.first, 3)
    assert all(torch.equal(index, rounds.first.index) for index in seen[-3:])
    assert cached.images_per_s > told.images_per_s


def test_what_is_not_counted_is_the_rest_or_unseen_decoding() -> None:
    counted = {"read": 1.0, "decode": 0.0, "crop": 1.0, "colour": 1.0, "copy": 0.0}
    assert complete(counted, core_ms=5.0, engine="torchvision") == counted | {"rest": 2.0}
    assert complete(counted, core_ms=2.0, engine="torchvision") == counted | {"rest": 0.0}
    assert complete({}, core_ms=5.0, engine="torchvision") == {}
    for name, info in ENGINES.items():
        if info.decodes_uncounted:
            told = complete(counted, core_ms=5.0, engine=name)
            assert told == counted | {"decode": 2.0, "rest": 0.0}
