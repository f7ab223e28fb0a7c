"""A step as one CUDA graph, on a driver that captures by taking back what was done meanwhile.

A graph of a real GPU runs nothing while it is captured, and repeats the same work on the same
places in memory at each replay. Here the work is done and undone, and done again.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from swiftsiam.model.method import ModelConfig, Output
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.train.graph import Captured
from swiftsiam.train.lanes import Lanes
from swiftsiam.train.optim import (
    OptimConfig,
    build_learning_rate,
    build_optimizer,
    keep_rates_on_device,
    set_learning_rate,
)
from swiftsiam.train.step import DivergedError, TrainStep

CONFIG = ModelConfig(
    backbone="cifar_resnet18_w16", projector_layers=2, projector_hidden=16, projection_dim=16
)
LABELS = torch.full((4,), -1)
RATE = build_learning_rate(OptimConfig(base_lr=1.0), batch_size=256, epochs=4, steps_per_epoch=2)


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        assert isinstance(other, Stream)


class Driver:
    """What `Captured` asks of torch.cuda."""

    def __init__(self, kept: Callable[[], list[torch.Tensor]]) -> None:
        self._kept = kept
        self.num_captured = 0
        self.num_replayed = 0
        self.fails = False
        self.compute: Callable[[], Output] | None = None

    @contextlib.contextmanager
    def graph(self, graph: "Graph", *, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        before = [(tensor, tensor.clone()) for tensor in self._kept()]
        yield
        for tensor, value in before:
            with torch.no_grad():
                tensor.copy_(value)
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        self.num_captured += 1
        graph.driver = self


class Graph:
    driver: Driver

    def replay(self) -> None:
        self.driver.num_replayed += 1
        assert self.driver.compute is not None
        self.driver.compute()


def views(seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        view.contiguous(memory_format=torch.channels_last)
        for view in torch.randn(2, 4, 3, 16, 16, generator=generator)
    )


def build(*, captured: bool) -> tuple[SimSiam, torch.optim.SGD, TrainStep]:
    torch.manual_seed(0)
    model = SimSiam(CONFIG).to(memory_format=torch.channels_last)  # pyright: ignore
    optimizer = build_optimizer(model, OptimConfig(), lr=0.05)
    keep_rates_on_device(optimizer, torch.device("cpu"))
    step = TrainStep(
        model,
        optimizer,
        autocast=torch.autocast("cpu", torch.bfloat16, enabled=False),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        captured=captured,
    )
    return model, optimizer, step


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> tuple[SimSiam, torch.optim.SGD, TrainStep, Driver]:
    model, optimizer, step = build(captured=True)

    def kept() -> list[torch.Tensor]:
        momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
        own = [step._sums, step._num_good, step._diverged]
        return [*model.parameters(), *model.buffers(), *momentum, *own]

    driver = Driver(kept)
    captured = step._captured
    assert captured is not None
    places: list[Any] = []

    def replay() -> Output:
        # The places of the capture, by identity: whatever the step reads must have come there.
        if not places:
            places.extend((captured._views, captured._labels))
        assert captured._views is places[0]
        assert captured._labels is places[1]
        captured._output = step._compute(captured._views, captured._labels)
        return captured._output

    driver.compute = replay
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", driver.graph)
    return model, optimizer, step, driver


def take(optimizer: torch.optim.SGD, step: TrainStep, seeds: range) -> dict[str, float]:
    for seed in seeds:
        set_learning_rate(optimizer, RATE, step=seed)
        step(views(seed), LABELS)
    return step.take_figures(inspected=True)


def test_a_graph_takes_the_steps_that_are_taken_without_it(driven) -> None:
    model, optimizer, step, driver = driven
    plain, plain_optimizer, plain_step = build(captured=False)
    for seeds in (range(5), range(5, 8)):
        assert take(optimizer, step, seeds) == take(plain_optimizer, plain_step, seeds)
    for one, other in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert (driver.num_captured, driver.num_replayed) == (1, 5)  # three of the eight warm it up
    assert not step.take_notes()


def test_a_bad_batch_in_a_graph_changes_no_weight(driven) -> None:
    model, optimizer, step, _ = driven
    take(optimizer, step, range(5))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    bad = views(7)
    bad[0][0, 0, 0, 0] = float("nan")
    step(bad, LABELS)
    step(views(8), LABELS)
    assert all(map(torch.equal, model.parameters(), before))
    with pytest.raises(DivergedError):
        step.check()


def test_a_capture_that_fails_is_told_and_done_without(driven) -> None:
    model, optimizer, step, driver = driven
    driver.fails = True
    plain, plain_optimizer, plain_step = build(captured=False)
    assert take(optimizer, step, range(6)) == take(plain_optimizer, plain_step, range(6))
    assert all(map(torch.equal, model.parameters(), plain.parameters()))
    (note,) = step.take_notes()
    assert "train.cuda_graph" in note
    assert "operation not permitted when stream is capturing)" in note
    assert not step.take_notes()


def test_rates_stay_where_they_are(driven) -> None:
    _, optimizer, _, _ = driven
    places = [group["lr"] for group in optimizer.param_groups]
    assert set_learning_rate(optimizer, RATE, step=3) == pytest.approx(float(places[0]))
    assert all(
        group["lr"] is place for group, place in zip(optimizer.param_groups, places, strict=True)
    )


def test_captured_is_what_the_lane_asks_for() -> None:
    assert not Lanes().cuda_graph
    assert Captured(lambda views, labels: None).failure is None  # type: ignore[arg-type, return-value]
