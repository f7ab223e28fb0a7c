"""Engines, and loaders over them, for the tests of the contract."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec, build_train_specs
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.loader import Loader, build_loader
from swiftsiam.pipeline.sources import Source, open_source

ENGINES = [
    pytest.param("torchvision"),
]
"""Every engine that reads folders of pictures. The contract's tests run for each."""

SIZE = 16
"""Side of the views, px."""

MakeLoader = Callable[..., Loader]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Name of an engine."""
    return request.param


@pytest.fixture
def source(class_folder: Path) -> Source:
    """23 pictures in three classes."""
    return open_source(class_folder)


@pytest.fixture
def make_loader(engine: str, source: Source) -> Iterator[MakeLoader]:
    """(**settings of `build_loader`) → a training loader of batches of four, unless told otherwise.

    All are closed when the test ends.
    """
    made: list[Loader] = []

    def make_loader(**settings: object) -> Loader:
        config = AugmentConfig(size=SIZE)
        train = bool(settings.get("train", True))
        specs = build_train_specs(config) if train else (build_eval_spec(config),)
        defaults = {"source": source, "specs": specs, "global_batch_size": 4, "train": True}
        made.append(build_loader(engine=engine, **(defaults | settings)))
        return made[-1]

    yield make_loader
    for loader in made:
        loader.close()


@pytest.fixture(scope="session")
def rows_of() -> Callable[[list[Batch]], dict[int, tuple[torch.Tensor, ...]]]:
    """(batches) → {index: its views}, without padding."""

    def rows_of(batches: list[Batch]) -> dict[int, tuple[torch.Tensor, ...]]:
        rows = {}
        for batch in batches:
            for row in np.flatnonzero(batch.mask.numpy()):
                index = int(batch.index[row])
                assert index not in rows, f"sample {index} came twice"
                rows[index] = tuple(view[row] for view in batch.views)
        return rows

    return rows_of


@pytest.fixture
def workers() -> Callable[[], list[psutil.Process]]:
    """() → the worker processes that live now; helpers of multiprocessing itself are not counted."""

    def workers() -> list[psutil.Process]:
        helpers = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")
        found = []
        for process in psutil.Process().children(recursive=True):
            with_parent = process.parent()
            started_by_server = with_parent is not None and with_parent.pid != psutil.Process().pid
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and (
                started_by_server or not any(name in command for name in helpers)
            ):
                found.append(process)
        return found

    return workers
