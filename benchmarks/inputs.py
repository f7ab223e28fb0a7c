"""What is loaded where nothing is given, and for how long."""

from collections.abc import Iterator
from pathlib import Path

import torch

from ..pipeline.contract import Batch
from ..pipeline.loader import Loader
from ..pipeline.machine import num_cores
from ..train.device import view_dtype


def generate_pictures() -> Path:
    """The demo's pictures, of its usual number, in the working folder; made once."""
    from ..pipeline.demo.images import DEFAULT_NUM_IMAGES, generate

    made = generate(Path("demo-data"), num_images=DEFAULT_NUM_IMAGES, num_workers=num_cores())
    return Path(made.train)


def make_views(
    count: int,
    size: int,
    *,
    precision: str,
    device: torch.device | str,
    layout: torch.memory_format = torch.channels_last,
) -> tuple[torch.Tensor, ...]:
    """Two views of noise, (count, 3, size, size), as the loader delivers them to a step of this
    precision; always the same.
    """
    dtype = view_dtype(precision, loader_device="gpu")
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn((count, 3, size, size), generator=generator)
        .to(device, dtype)
        .contiguous(memory_format=layout)
        for _ in range(2)
    )


def endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader
