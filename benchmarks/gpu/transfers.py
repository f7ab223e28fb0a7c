"""The card's ceilings, which the other parts are held against."""

from collections.abc import Iterator
from functools import partial

import torch

from ..spread import spread
from .context import Context, Record, interleaved

_REPEATS = 5


def transfers(context: Context) -> Iterator[Record]:
    """Copies within the device, to it from pinned and pageable memory, and a product in bf16."""
    size = context.sizes.megabytes * 10**6
    here = torch.zeros(size, dtype=torch.uint8, device=context.device)
    there = torch.empty_like(here)
    pageable = torch.zeros(size, dtype=torch.uint8)
    pinned = pageable.pin_memory() if context.is_cuda else pageable.clone()
    left, right = torch.randn(
        (2, context.sizes.side, context.sizes.side), device=context.device
    ).bfloat16()
    works = {
        "within the device, GB/s": (2 * size, partial(there.copy_, here)),
        "from pinned memory, GB/s": (size, partial(there.copy_, pinned, non_blocking=True)),
        "from pageable memory, GB/s": (size, partial(there.copy_, pageable)),
        "product in bf16, TFLOP/s": (2e-3 * context.sizes.side**3, partial(left.matmul, right)),
    }

    def measure(amount: float, work: partial[object]) -> float:
        def run() -> None:
            for _ in range(_REPEATS):
                work()

        return _REPEATS * amount / context.seconds(run) / 1e9

    contestants = {name: partial(measure, *each) for name, each in works.items()}
    for name, values in interleaved(contestants, rounds=2 * context.sizes.rounds).items():
        figure = spread(values) if values else None
        yield context.check(name, bool(values), figure=figure)
