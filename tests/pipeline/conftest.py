"""Engines, and loaders over them, for the tests of the contract."""

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import Batch, EngineOptions
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source, open_source

PICTURE_ENGINES = [
    pytest.param(name, marks=pytest.mark.engine(name))
    for name, info in ENGINES.items()
    if info.reads_pictures
]
"""Every engine that reads folders of pictures. The contract's tests run for each."""

SIZE = 16
"""Side of the views, px."""

WITHOUT_AND_WITH_WORKERS = [0, pytest.param(1, marks=pytest.mark.slow)]
"""`num_workers` of tests that start a loader, and a process with it."""

MakeLoader = Callable[..., Loader]


@pytest.fixture(params=PICTURE_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Name of an engine."""
    return request.param


@pytest.fixture
def process_engine(engine: str) -> str:
    """Name of an engine with worker processes."""
    if ENGINES[engine].workers != "processes":
        pytest.skip(f"the {engine} engine has no worker processes")
    return engine


class ListedSource:
    """Files in memory; an exception in place of one is raised when it is read."""

    classes = ()
    format = "memory"

    def __init__(self, *files: bytes | Exception) -> None:
        self._files = files
        self.labels = np.full(len(files), -1, np.int64)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> bytes:
        data = self._files[index]
        if isinstance(data, Exception):
            raise data
        return data

    def key(self, index: int) -> str:
        return f"file {index}"


@pytest.fixture(scope="session")
def listed() -> type[ListedSource]:
    """(files…) → a source of them."""
    return ListedSource


@pytest.fixture
def source(class_folder: Path) -> Source:
    """23 pictures in three classes."""
    return open_source(class_folder)


@pytest.fixture
def make_options(source: Source) -> Callable[..., EngineOptions]:
    """(**changes) → options of a training engine on the CPU: two views, batches of four."""

    def make_options(**changes: object) -> EngineOptions:
        options = EngineOptions(
            source=source,
            specs=build_train_specs(AugmentConfig(size=SIZE)),
            seed=0,
            batch_size=4,
            dtype=torch.float32,
            device=torch.device("cpu"),
            num_workers=2,
            max_bad_samples=0,
        )
        return dataclasses.replace(options, **changes)

    return make_options


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
    """() → the worker processes alive now that were not there when the test began, without the
    helpers of multiprocessing itself.
    """

    def is_helper(process: psutil.Process) -> bool:
        helpers = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")
        # Its workers share the command line of the server that forked them.
        return process.ppid() == os.getpid() and any(
            name in " ".join(process.cmdline()) for name in helpers
        )

    def find_all() -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):
            # One may end between these calls.
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE and not is_helper(process):
                    found.append(process)
        return found

    before = find_all()
    return lambda: [process for process in find_all() if process not in before]


@pytest.fixture
def hang(tmp_path: Path, fill_folder: Callable[..., Path]) -> Iterator[Callable[[int], str]]:
    """(index) → key: from now on reading that one of 23 pictures in `tmp_path` waits for ever."""
    fill_folder(tmp_path, {"ant": 9, "bee": 8, "cat": 6})
    source, made = open_source(tmp_path), []

    def hang(index: int) -> str:
        made.append(tmp_path / source.key(index))
        made[-1].unlink()
        os.mkfifo(made[-1])
        return source.key(index)

    yield hang
    for path in made:  # let go of the threads that are still at it
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


@pytest.fixture(scope="session")
def betons(
    tmp_path_factory: pytest.TempPathFactory, draw_picture: Callable[[int, int, int], np.ndarray]
) -> dict[str, Path]:
    """Betons of `write_betons.py` by name, and `pictures`: the folder of 12 PNGs they hold."""
    folder = tmp_path_factory.mktemp("betons")
    pictures = [draw_picture(seed, 40 + 3 * seed, 70 - 2 * seed) for seed in range(12)]
    np.savez(folder / "pictures.npz", *pictures)
    (folder / "pictures").mkdir()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:02}.png")
    script = Path(__file__).with_name("write_betons.py")
    subprocess.run(
        [sys.executable, script, folder / "pictures.npz", folder],
        check=True,
        capture_output=True,
        timeout=500,
    )
    return {path.stem: path for path in folder.glob("*.beton")} | {"pictures": folder / "pictures"}
