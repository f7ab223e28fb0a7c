"""The kernels: right against plain torch at every size and type, and how long they take."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from ...pipeline.augment.gpu import (
    Windows,
    make_crops,
    make_views,
    pack_params,
    pack_windows,
    torch_crops,
    torch_views,
)
from ...pipeline.augment.sampler import draw_views, pack_spec
from ...pipeline.augment.spec import AugmentConfig, AugmentSpec, build_train_specs
from ..spread import spread
from .context import Context, Record, interleaved

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_FLOAT_LIMIT = 0.02 / 255 / 0.225
_NUM_BATCHES = 3  # 154 MB of crops each, three times the cache of an H200


def build_spec(size: int, *, blur_prob: float | None = None) -> AugmentSpec:
    """The paper's views."""
    return build_train_specs(AugmentConfig(size=size, blur_prob=blur_prob))[0]


def draw(spec: AugmentSpec, count: int, *, height: int, width: int, epoch: int = 0) -> np.ndarray:
    """(count,) parameters of views of pictures of this size, px."""
    places = {"seed": 0, "epoch": epoch, "view": 0, "indices": np.arange(count)}
    heights, widths = np.full(count, height), np.full(count, width)
    return draw_views(pack_spec(spec), **places, heights=heights, widths=widths)


def make_noise(context: Context, count: int, size: int) -> torch.Tensor:
    """(count, size, size, 3) uint8 on the device."""
    shape = (count, size, size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=context.device)


def kernels(context: Context) -> Iterator[Record]:
    """Views and crops against plain torch."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)  # what is empty is filled with NaN
    for size in (context.sizes.size, 32):
        for count in (4, 64):
            yield from _compare_views(context, size=size, count=count)
    yield _compare_many_views(context)
    for side in (32, 96, 2 * context.sizes.size):
        yield _compare_crops(context, side=side)


def _compare_views(context: Context, *, size: int, count: int) -> Iterator[Record]:
    spec = build_spec(size)
    crops = make_noise(context, count, size)
    packed = pack_params(draw(spec, count, height=size, width=size)).to(context.device)
    for dtype in _DTYPES:
        exact = torch_views(crops, packed, spec=spec, dtype=torch.float32)
        made = make_views(crops, packed, spec=spec, dtype=dtype).float()
        worst = float((made - exact).abs().max())
        # Half a unit in the last place of values up to 2.7, beside the kernel's own rounding.
        limit = _FLOAT_LIMIT + (1.4 * torch.finfo(dtype).eps if dtype != torch.float32 else 0.0)
        name = f"views {count} x {size} px {dtype}".replace("torch.", "")
        yield context.check(name, worst <= limit, worst=worst, limit=limit)


def _compare_many_views(context: Context) -> Record:
    """More elements than 32 bits count: the last views must be right as well."""
    size, count = context.sizes.size, context.sizes.many_views
    spec = build_spec(size)
    crops = make_noise(context, count, size)
    packed = pack_params(draw(spec, count, height=size, width=size)).to(context.device)
    made = make_views(crops, packed, spec=spec, dtype=torch.bfloat16)
    last = slice(count - 4, count)
    exact = torch_views(crops[last].clone(), packed[last], spec=spec, dtype=torch.float32)
    worst = float((made[last].float() - exact).abs().max())
    limit = _FLOAT_LIMIT + 1.4 * torch.finfo(torch.bfloat16).eps
    elements = made.numel()
    return context.check("many views", worst <= limit, worst=worst, limit=limit, elements=elements)


def build_windows(
    spec: AugmentSpec, pictures: torch.Tensor, count: int, *, epoch: int = 0
) -> Windows:
    """Windows of views of `count` pictures, taken in turn from (N, side, side, 3)."""
    side = pictures.shape[1]
    params = draw(spec, count, height=side, width=side, epoch=epoch)
    starts = np.arange(count) % len(pictures) * side * side * 3
    return pack_windows(params, starts=starts, widths=np.full(count, side))


def _compare_crops(context: Context, *, side: int) -> Record:
    size = context.sizes.size
    pictures = make_noise(context, 16, side)
    windows = build_windows(build_spec(size), pictures, 32)
    made = make_crops(pictures.view(-1), windows, size=size).int()
    table = windows.table.to(context.device)
    plain = torch_crops(pictures.view(-1), table, size=size, max_taps=windows.max_taps)
    difference = (made - plain.int()).abs()
    mean, worst = float(difference.float().mean()), int(difference.max())
    name = f"crops of {side} px"
    # Halves, of which evenly scaled windows make some, may go either way.
    return context.check(name, worst <= 1 and mean < 0.02, worst=worst, mean=mean)


def kernel_times(context: Context) -> Iterator[Record]:
    """Both views of a batch in one call, as the loader makes them.

    Several batches in turn, so that no crop is left in the cache. Reading: GB/s counts each crop
    read once and each view written once, whatever a kernel really moves; ms are to be held against
    3 % of a training step, 3.7 ms of 125.
    """
    size, count = context.sizes.size, 2 * context.sizes.batch
    contestants: dict[str, Callable[[], float]] = {}
    for name, blur_prob in (("views", None), ("views, no blur", 0.0)):
        spec = build_spec(size, blur_prob=blur_prob)
        contestants[name] = partial(_time, context, _view_calls(context, spec, count))
    # CIFAR's batch, and pictures of 256 px to views of the step's size.
    large = 256 if context.is_cuda else 2 * size
    for side, made_size in ((32, 32 if context.is_cuda else 8), (large, size)):
        name = f"crops of {side} px"
        calls = _crop_calls(context, side=side, size=made_size, count=count)
        contestants[name] = partial(_time, context, calls)
    for name, values in interleaved(contestants, rounds=4 * context.sizes.rounds).items():
        if not values:
            yield context.check(name, False, why="failed; see its log")
            continue
        views_gb = count * size**2 * 3 * 3 / 1e9  # bytes in, twice as many out
        rate = views_gb / (spread(values)["median"] / 1000) if name.startswith("views") else None
        figures = {"ms": spread(values), "views": count, "gb_per_s": rate and round(rate)}
        limit = 3.7 if name.startswith("views") and context.is_cuda else None
        holds = None if limit is None else spread(values)["median"] <= limit
        yield context.check(name, holds, limit_ms=limit, **figures)


def _view_calls(context: Context, spec: AugmentSpec, count: int) -> list[Callable[[], object]]:
    calls = []
    for epoch in range(_NUM_BATCHES):
        crops = make_noise(context, count, spec.size)
        params = draw(spec, count, height=spec.size, width=spec.size, epoch=epoch)
        packed = pack_params(params).to(context.device)
        calls.append(partial(make_views, crops, packed, spec=spec, dtype=torch.bfloat16))
    return calls


def _crop_calls(
    context: Context, *, side: int, size: int, count: int
) -> list[Callable[[], object]]:
    pictures = make_noise(context, 512 if context.is_cuda else 16, side)
    spec = build_spec(size)
    calls = []
    for epoch in range(_NUM_BATCHES):
        windows = build_windows(spec, pictures, count, epoch=epoch)
        windows = windows._replace(table=windows.table.to(context.device))
        calls.append(partial(make_crops, pictures.view(-1), windows, size=size))
    return calls


def _time(context: Context, calls: list[Callable[[], object]]) -> float:
    """ms of one call."""
    repeats = (3 if context.is_cuda else 1) * len(calls)

    def run() -> None:
        for number in range(repeats):
            calls[number % len(calls)]()

    return 1000 * context.seconds(run) / repeats
