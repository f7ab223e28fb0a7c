"""The loader for a GPU, without a GPU: where everything lies, and where the host would wait.

Streams need a driver, so the delivery works on the lane of a CPU; in which order a lane is asked
for what, is looked at in test_delivery.py.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from swiftsiam.pipeline import building, delivery, devices, loader
from swiftsiam.pipeline.augment.gpu import crops as crops_module
from swiftsiam.pipeline.augment.gpu import packing, views, windows
from swiftsiam.pipeline.augment.sampler import PARAMS
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec, build_train_specs
from swiftsiam.pipeline.contract import Batch, EngineOptions, Request, Result
from swiftsiam.pipeline.engines import resident_engine
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source

CUDA = torch.device("cuda", 0)
SIZE = 24


class HostEngine:
    """What an engine of the CPU delivers: memory on the host."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        options = self._options
        for request in requests:
            count = len(request.indices)
            if options.delivers == "crops":
                shapes = [(len(views) * count, SIZE, SIZE, 3) for views in options.blocks]
                pixels = [torch.empty(shape, dtype=torch.uint8) for shape in shapes]
                params = np.zeros((len(options.specs), count), PARAMS)
            else:
                shape = (count, SIZE, SIZE, 3)
                pixels = [torch.empty(shape, dtype=options.dtype) for _ in options.specs]
                pixels = [view.permute(0, 3, 1, 2) for view in pixels]
                params = None
            yield Result(tuple(pixels), request.indices, [], params)

    def close(self) -> None: ...


@pytest.fixture
def without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks a driver, or takes the address of memory, which fakes do not have."""
    monkeypatch.setattr(delivery, "open_lane", lambda device: delivery.HostLane())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    for module in (views, crops_module):
        monkeypatch.setattr(module, "runs_triton", lambda device: False)
    monkeypatch.setattr(
        delivery, "pack_params", lambda params: torch.empty(len(params), packing.WIDTH)
    )
    monkeypatch.setattr(
        resident_engine,
        "pack_windows",
        lambda params, *, starts, widths: windows.Windows(
            torch.empty(len(params), windows.NUM_COLUMNS, dtype=torch.int64), max_taps=3, end=0
        ),
    )


def build(source: Source, **settings: Any) -> Loader:
    train = settings.get("train", True)
    config = AugmentConfig(size=SIZE)
    specs = build_train_specs(config) if train else (build_eval_spec(config),)
    defaults = {"specs": specs, "global_batch_size": 4, "train": True, "device": CUDA}
    return building.build_loader(source=source, **(defaults | settings))


def assert_on_the_device(batches: list[Batch], dtype: torch.dtype) -> None:
    assert len(batches) > 4
    for batch in batches:
        assert {batch.label.device, batch.index.device, batch.mask.device} == {CUDA}
        for view in batch.views:
            assert (view.device, view.dtype) == (CUDA, dtype)
            assert view.shape == (len(batch.index), 3, SIZE, SIZE)
            assert view.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("without_driver", "watch")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("delivers", ["crops", "views"])
def test_training(
    source: Source, monkeypatch: pytest.MonkeyPatch, delivers: str, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(loader, "build", lambda name, options: HostEngine(options))
    assert_on_the_device(list(build(source, delivers=delivers, dtype=dtype)), dtype)


@pytest.mark.usefixtures("without_driver", "watch")
def test_evaluation(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "build", lambda name, options: HostEngine(options))
    assert_on_the_device(list(build(source, train=False, dtype=torch.bfloat16)), torch.bfloat16)


@pytest.mark.usefixtures("without_driver", "watch")
def test_pictures_that_lie_on_the_device(source: Source) -> None:
    made = build(source, engine="resident", delivers="crops", dtype=torch.bfloat16)
    assert_on_the_device(list(made), torch.bfloat16)


@pytest.mark.usefixtures("without_driver", "watch")
def test_pictures_are_there_before_another_stream_reads_them(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    build(source, engine="resident", delivers="crops")
    assert waited == [CUDA]


@pytest.mark.usefixtures("without_driver")
def test_a_wait_in_an_engine_would_be_seen(
    source: Source, monkeypatch: pytest.MonkeyPatch, watch: Any
) -> None:
    class Waiting(HostEngine):
        def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
            for result in super().stream(requests):
                result.pixels[0].to(CUDA).cpu()
                yield result

    monkeypatch.setattr(loader, "build", lambda name, options: Waiting(options))
    next(iter(build(source, delivers="crops")))
    assert watch.waits
    watch.waits.clear()


def test_a_plain_cuda_becomes_this_threads_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert devices.as_one_device("cuda") == torch.device("cuda", 3)
    assert devices.as_one_device("cuda:1") == torch.device("cuda", 1)
    assert devices.as_one_device("cpu") == torch.device("cpu")


def test_each_thread_of_a_loader_enters_its_device(
    source: Source, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """A new thread has the first GPU, where a second process's memory must not lie."""
    entered: list[torch.device] = []
    enter: Callable[[torch.device], None] = entered.append
    for module in ("ffcv", "dali"):
        monkeypatch.setattr(f"swiftsiam.pipeline.engines.{module}.engine.enter_device", enter)
    with build(source, engine=engine, device="cpu", num_workers=2) as made:
        next(iter(made))
    # Of processes, only DataLoader's thread that pins does; torch has it enter the device itself.
    assert entered == [torch.device("cpu")] * {"torchvision": 0, "ffcv": 2, "dali": 1}[engine]
