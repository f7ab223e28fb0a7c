"""Batches of loaders that are not ours, told by their number of images."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

import torch

from ..pipeline.errors import UserError
from .contestant import Task


def modules(*names: str) -> list[Any]:
    """Modules of libraries that need not be installed, where no checker would find them."""
    return [import_module(name) for name in names]


def count(view1: torch.Tensor, view2: torch.Tensor) -> int:
    """Images in a batch: two tensors of equal shape, as a training step takes them."""
    assert view1.ndim == 4
    assert view1.shape == view2.shape
    return len(view1)


def epochs(
    task: Task, loader: Iterable[Any], views: Callable[[Any], Iterable[torch.Tensor]]
) -> Iterator[int]:
    """Sizes of batches, epoch after epoch; `views` finds the two in what the loader yields."""
    while True:
        delivered = 0
        for batch in loader:
            delivered += 1
            yield count(*views(batch))
        if not delivered:
            raise UserError(f"--batch-size={task.batch_size}: more than there are pictures")


def data_loader(task: Task, dataset: Any) -> torch.utils.data.DataLoader[Any]:
    """torch's, as the reference's users have it."""
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=task.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=task.num_workers,
        # What libraries' examples come to on Linux: their closures go to no new process.
        multiprocessing_context="fork" if task.num_workers else None,
        persistent_workers=task.num_workers > 0,
    )
