"""The path on a GPU without a GPU: on which device everything is, and where the host would wait.

Under FakeTensorMode tensors have shapes, types and devices but no data, so that "cuda" needs no
driver. What mixes devices raises, and so does what needs a value on the host: `.item()`,
`.tolist()`, `bool(tensor)`, a choice by a mask.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from swiftsiam.model.backbones import BackboneName
from swiftsiam.model.method import ModelConfig
from swiftsiam.model.simsiam import SimSiam
from swiftsiam.model.statistics import effective_rank, normalized_std
from swiftsiam.pipeline.contract import Batch
from swiftsiam.train.evaluation.encoder import RawPixels, pool
from swiftsiam.train.evaluation.knn import predict
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

pytestmark = pytest.mark.usefixtures("watch")

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Autocast:
    """torch.autocast("cuda") as where there is a GPU; without one that switches itself off."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def __enter__(self) -> None:
        self._before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", self._dtype)
        torch.autocast_increment_nesting()

    def __exit__(self, *_: object) -> None:
        torch.autocast_decrement_nesting()
        torch.set_autocast_enabled("cuda", self._before[0])
        torch.set_autocast_dtype("cuda", self._before[1])
        torch.clear_autocast_cache()


def build(backbone: BackboneName) -> SimSiam:
    with CUDA:
        return SimSiam(ModelConfig(backbone=backbone))


def view(count: int, size: int) -> torch.Tensor:
    made = torch.empty(count, 3, size, size, device=CUDA)
    return made.contiguous(memory_format=torch.channels_last)


AUTOCASTS: dict[str, tuple[AbstractContextManager[None], torch.dtype]] = {
    "fp32": (nullcontext(), torch.float32),
    "bf16": (Autocast(torch.bfloat16), torch.bfloat16),
    "fp16": (Autocast(torch.float16), torch.float16),
}

precisions = pytest.mark.parametrize("precision", AUTOCASTS)
backbones = pytest.mark.parametrize(
    ("backbone", "size"),
    [pytest.param("resnet50", 224, marks=pytest.mark.slow), ("cifar_resnet18", 32)],
)


@precisions
@backbones
def test_a_forward_pass_and_its_figures_stay_on_the_device(
    backbone: BackboneName, size: int, precision: str
) -> None:
    autocast, dtype = AUTOCASTS[precision]
    model = build(backbone)
    labels = torch.empty(8, dtype=torch.int64, device=CUDA)
    with autocast:
        output = model((view(8, size), view(8, size)), labels)
    assert (output.loss.device, output.loss.dtype) == (CUDA, torch.float32)
    assert output.loss.requires_grad
    assert output.figures
    for figure in (*output.figures.values(), *model.inspect(output).values()):
        assert (figure.device, figure.dtype, figure.shape) == (CUDA, torch.float32, ())
        assert not figure.requires_grad
    for projection in output.projections:
        assert (projection.device, projection.dtype) == (CUDA, dtype)
    model.after_step()
    assert {tensor.device for tensor in model.state_dict().values()} == {CUDA}


@pytest.mark.parametrize("statistic", [normalized_std, effective_rank])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_stay_on_the_device(
    statistic: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype
) -> None:
    made = statistic(torch.empty(8, 64, device=CUDA, dtype=dtype))
    assert (made.device, made.dtype, made.shape) == (CUDA, torch.float32, ())


def batches(size: int) -> Iterator[Batch]:
    """Two and a smaller one, as a loader for a GPU yields them."""
    for count in (8, 8, 3):
        numbers = torch.empty(2, count, dtype=torch.int64, device=CUDA)
        yield Batch((view(count, size),), *numbers)


@precisions
@backbones
def test_features_are_pooled_without_waiting(
    backbone: BackboneName, size: int, precision: str
) -> None:
    model = build(backbone)
    model.eval()
    pooled = pool(model.backbone, batches(size), autocast=AUTOCASTS[precision][0], max_rows=24)  # pyright: ignore
    assert pooled.features.shape == (19, model.num_features)
    assert pooled.features.dtype == torch.float32
    assert {column.device for column in pooled} == {CUDA}
    assert [len(column) for column in pooled] == [19] * 3


def test_raw_pixels_are_pooled_without_waiting() -> None:
    with CUDA:
        pixels = RawPixels()
    pooled = pool(pixels, batches(32), autocast=nullcontext(), max_rows=24)  # pyright: ignore
    assert pooled.features.shape == (19, 192)
    assert {column.device for column in pooled} == {CUDA}


@pytest.mark.parametrize(("device", "chunk"), [(CUDA, 128), (CPU, 16)])
def test_neighbours_vote_without_waiting(watch: Any, device: torch.device, chunk: int) -> None:
    """Also where pairs are excluded. A launch on a GPU takes eight times as many queries."""
    queries, bank = torch.empty(300, 8, device=device), torch.empty(1 << 20, 8, device=device)
    labels = torch.empty(len(bank), dtype=torch.int64, device=device)
    pairs = np.array([[290, 5], [1, 7], [0, 0], [1, 6]])
    predicted = predict(
        queries, bank, labels, k=200, temperature=0.1, excluded=pairs, num_classes=1000
    )
    assert (predicted.device, predicted.dtype) == (device, torch.int64)
    assert len(predicted) == 300
    full, rest = divmod(300, chunk)
    assert watch.products == [(chunk, 1 << 20)] * full + [(rest, 1 << 20)]


def test_asking_the_labels_for_the_classes_waits() -> None:
    columns = torch.empty(4, 8, device=CUDA), torch.empty(9, 8, device=CUDA)
    labels = torch.empty(9, dtype=torch.int64, device=CUDA)
    with pytest.raises(DataDependentOutputException):
        predict(*columns, labels, k=3, temperature=0.1)


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (lambda x: x.sum().item(), DataDependentOutputException),
        (lambda x: x.tolist(), DataDependentOutputException),
        (lambda x: bool((x > 0).all()), DataDependentOutputException),
        (lambda x: x[x > 0], DynamicOutputShapeException),
    ],
    ids=["item", "tolist", "bool", "mask"],
)
def test_a_hidden_wait_would_be_seen(
    wait: Callable[[torch.Tensor], object], error: type[Exception]
) -> None:
    class Waiting(torch.nn.Module):
        def forward(self, view: torch.Tensor) -> torch.Tensor:
            features = view.mean(dim=(2, 3))
            wait(features[:, 0])
            return features

    with pytest.raises(error):
        pool(Waiting(), batches(8), autocast=nullcontext(), max_rows=24)  # pyright: ignore


def test_two_devices_would_be_seen() -> None:
    model = build("cifar_resnet18")
    model.backbone.register_forward_hook(lambda _, __, made: made + torch.ones(len(made), 1))
    with pytest.raises(RuntimeError, match="device"):
        pool(model.backbone, batches(32), autocast=nullcontext(), max_rows=24)  # pyright: ignore


def test_a_copy_to_the_host_and_an_index_there_would_be_seen(watch: Any) -> None:
    there = torch.empty(4, 8, device=CUDA)
    there.cpu()
    there[torch.empty(2, dtype=torch.int64)]
    with torch.inference_mode():
        there.to("cpu", non_blocking=True)
    assert len(watch.waits) == 3
    watch.waits.clear()
