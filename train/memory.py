"""What a step takes of a GPU's memory, and the largest batch that should fit."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from .device import view_dtype

if TYPE_CHECKING:
    from .job import Job

_USABLE = 0.94  # of what is free for a step: the rest goes to pieces that fit nothing
_MULTIPLE = 8
_SMALLEST = 4


def find_largest_batch(
    peak_bytes: Callable[[int], int], *, total_bytes: int, failed: int
) -> int | None:
    """The largest batch that should fit, by what two smaller ones take.

    Args:
        peak_bytes: of a step of so many pictures; raises torch.OutOfMemoryError where there is no
            room for them either.
        total_bytes: of the device, for this process.
        failed: pictures for which there was no room.

    Returns:
        A multiple of 8 where it is more than that; None: not even a few fit.
    """
    more = failed // 4
    while more >= 2 * _SMALLEST:
        fewer = more // 2
        try:
            low, high = peak_bytes(fewer), peak_bytes(more)
        except torch.OutOfMemoryError:
            more = fewer
            continue
        each = max(high - low, 1) / (more - fewer)
        fitting = int(more + (_USABLE * total_bytes - high) / each)
        fitting = min(fitting, failed - 1)
        return fitting - fitting % _MULTIPLE if fitting > _MULTIPLE else max(fitting, fewer)
    return None


def tell_out_of_memory(job: "Job") -> str:
    """What to do about it. Takes a few steps of noise: nothing of the job may be kept after it."""
    train = job.config.train
    failed = train.batch_size // job.world.size
    where = f"train.batch_size={train.batch_size}: the GPU's memory is too small"
    if not job.world.is_alone:  # a step alone would wait for the other ranks for ever
        return f"{where} for {failed} pictures each; lower it, or take more GPUs"
    torch.cuda.empty_cache()
    device = torch.device("cuda", torch.cuda.current_device())
    total = sum(torch.cuda.mem_get_info(device)[:1]) + torch.cuda.memory_reserved(device)
    largest = find_largest_batch(
        lambda count: _peak_bytes(job, count), total_bytes=total, failed=failed
    )
    if largest is None:
        return f"{where} for any batch of this model; take a smaller model.backbone or augment.size"
    return (
        f"{where}; {largest} should fit (by what smaller ones take): set "
        f"train.batch_size={largest}, with which the learning rate goes down in proportion"
    )


def _peak_bytes(job: "Job", count: int) -> int:
    config = job.config
    dtype = view_dtype(config.train.precision, loader_device=config.loader.device)
    size = config.augment.size
    views = tuple(
        torch.randn(count, size, size, 3, device="cuda").to(dtype).permute(0, 3, 1, 2)
        for _ in range(job.num_views)
    )
    torch.cuda.reset_peak_memory_stats()
    job.train_step(views, torch.full((count,), -1, device="cuda"))
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
