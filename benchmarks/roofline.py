"""The roof over a step: how fast the machine multiplies, how fast it moves bytes, and how many of
each a picture takes.

Arithmetic is that of convolutions and products (`train.flops`). Traffic is counted on the same
network without data: every operation but views reads its inputs and writes its results once, as
eager execution does where a batch is larger than the caches; BatchNorm, ReLU and sums are nearly
all of it. What fuses them moves less, and may stand above the roof that is drawn for it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..model.method import ModelConfig, build_method
from ..train.device import build_autocast
from .results import Figure, Record
from .spread import spread

_COUNTED = (4, 8)  # pictures in a batch
_COPIED_BYTES = 2**28  # beyond any cache
_SIDE = {"cpu": 1024, "cuda": 8192}
_UPDATE_BYTES = 5 * 4  # a weight: it, its gradient and momentum are read, it and momentum written
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Ceilings(NamedTuple):
    """What is measured beside the lanes, in each round."""

    bandwidth: Callable[[], object]
    products: dict[str, Callable[[], object]]
    """By precision."""
    copied_bytes: int
    """Read and written by `bandwidth`."""
    flops: int
    """Of one of `products`."""


def build_ceilings(device: str, precisions: list[str]) -> Ceilings:
    """A copy, and a product for each precision, on this device."""
    source = torch.ones(_COPIED_BYTES // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    side = _SIDE[device]
    products = {}
    for name in precisions:
        left, right = (torch.randn(side, side, device=device).to(_DTYPES[name]) for _ in range(2))
        out = torch.empty_like(left)
        products[name] = _product(left, right, out)
    return Ceilings(lambda: target.copy_(source), products, 2 * source.numel(), 2 * side**3)


def _product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> Callable[[], None]:
    def multiply() -> None:
        torch.mm(left, right, out=out)

    return multiply


def count_traffic(
    config: ModelConfig, *, num_views: int, size: int, batch_size: int, precision: str
) -> int:
    """Bytes that training on one picture moves, eagerly: all views, forward, backward, and its
    share of the update.

    Args:
        config: of the method.
        num_views: of a picture.
        size: side of a view, px.
        batch_size: that shares an update.
        precision: of the forward pass.
    """
    few, many = (
        _count_batch(config, (count, 3, size, size), num_views=num_views, precision=precision)
        for count in _COUNTED
    )
    each = (many - few) / (_COUNTED[1] - _COUNTED[0])  # the rest is that of the weights
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build_method(config).parameters())
    of_batch = few - each * _COUNTED[0] + _UPDATE_BYTES * weights
    return round(each + of_batch / batch_size)


def _count_batch(
    config: ModelConfig, shape: tuple[int, int, int, int], *, num_views: int, precision: str
) -> int:
    """Bytes of forward and backward of one batch of views of this shape."""
    with FakeTensorMode():
        model = build_method(config)
        views = tuple(torch.empty(shape) for _ in range(num_views))
        labels = torch.empty(shape[0], dtype=torch.int64)
        with _Traffic() as counter:
            with build_autocast(precision, "cpu"):
                loss = model(views, labels).loss
            loss.backward()
    return counter.num_bytes


class _Traffic(TorchDispatchMode):
    """Adds up bytes of inputs and results."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, torch.Tensor):
                    self.num_bytes += leaf.numel() * leaf.element_size()
        return result


def build_ceiling_record(
    ceilings: Ceilings, seconds: dict[str, list[float]], *, device: str
) -> Record:
    """The roof, from the seconds of each round, by `bandwidth` and precision."""

    def rate(amount: float, taken: list[float]) -> Figure:
        return spread([amount / each for each in taken])  # type: ignore[return-value]

    return {
        "scope": "machine",
        "engine": "none",
        "lane": "roofline",
        "work": f"a copy of {ceilings.copied_bytes // 2**21} MB, and products of square matrices "
        f"of {_SIDE[device]}, between the rounds of the lanes",
        "bandwidth_gb_s": rate(ceilings.copied_bytes / 1e9, seconds["bandwidth"]),
        "matmul_tflop_s": {
            name: rate(ceilings.flops / 1e12, seconds[name]) for name in ceilings.products
        },
    }


class Roof(NamedTuple):
    """Over one lane: images/s that each allows, and what was reached."""

    arithmetic: float
    traffic: float
    reached: float

    @property
    def limit(self) -> str:
        """The lower of the two."""
        return "memory traffic" if self.traffic < self.arithmetic else "arithmetic"

    @property
    def percent(self) -> float:
        """Of the roof."""
        return 100 * self.reached / min(self.arithmetic, self.traffic)

    @property
    def utilisation_percent(self) -> float:
        """Model-FLOPs utilisation: of the products' rate alone."""
        return 100 * self.reached / self.arithmetic


def find_roof(lane: Record, ceiling: Record) -> Roof:
    """Of a lane's record, under the machine's."""
    peak = ceiling["matmul_tflop_s"][lane["precision"]]["median"]
    bandwidth = ceiling["bandwidth_gb_s"]["median"]
    return Roof(
        arithmetic=1000 * peak / lane["gflop_per_image"],
        traffic=1000 * bandwidth / lane["mb_per_image"] if lane["mb_per_image"] else math.inf,
        reached=lane["images_per_s"]["median"],
    )


def judge_step(records: list[Record], ceiling: Record) -> list[str]:
    """The verdict on a step's lanes, in words; the last of `records` has all of them on."""
    last = records[-1]
    roof = find_roof(last, ceiling)
    lines = [
        f"limited by {roof.limit}: unfused traffic allows {roof.traffic:,.0f} images/s, arithmetic "
        f"{roof.arithmetic:,.0f}; reached {roof.reached:,.0f}, {roof.percent:.0f} % of the roof",
        f"model-FLOPs utilisation {roof.utilisation_percent:.0f} %, of products measured in the "
        f"same run in {last['precision']}",
    ]
    gains = [record for record in records if "gain" in record]
    if gains:
        best = max(gains, key=lambda record: record["gain"]["median"])
        lines.append(f"the lane that gains most: {best['lane']}, {best['gain']['median']:.2f} x")
    if roof.limit == "memory traffic" and not any("compile" in r["lane"] for r in records):
        lines.append(
            "fusing BatchNorm, ReLU and sums (the compile lane) would lift the roof to "
            f"{roof.arithmetic / max(roof.traffic, 1e-9):.1f} x at most"
        )
    return lines
