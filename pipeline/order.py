"""Which samples make up each batch: a pure function of (seed, epoch), for any world size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .philox import order_keys

# No epoch of training has these orders.
_CHOICE_EPOCH = np.uint64(2**32 - 1)
_SHUFFLE_EPOCH = np.uint64(2**32 - 2)


def choose_indices(count: int, *, limit: int | None, seed: int) -> np.ndarray:
    """(N,) int64: all of `count` positions, or a fixed random choice of `limit`, sorted."""
    if limit is None or limit >= count:
        return np.arange(count)
    keys = order_keys(np.uint64(seed), _CHOICE_EPOCH, count)
    return np.sort(np.argsort(keys, kind="stable")[:limit])


def shuffled(indices: np.ndarray, *, seed: int) -> np.ndarray:
    """(N,) int64: sorted positions in a fixed random order, each before or behind each other one
    whatever the others are.
    """
    keys = order_keys(np.uint64(seed), _SHUFFLE_EPOCH, int(indices.max(initial=-1)) + 1)[indices]
    return indices[np.argsort(keys, kind="stable")]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Cuts each epoch into global batches and gives each rank its share of every one.

    Training: a global permutation, the last partial batch dropped. Evaluation: the listing's order,
    complete, the last batch padded with -1 so that every rank has the same number of rows.
    """

    indices: np.ndarray
    """(N,) int64: the samples to use."""
    global_batch_size: int
    seed: int
    train: bool
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        assert self.global_batch_size % self.world_size == 0

    def num_batches(self, *, start: int = 0) -> int:
        """Batches in what an epoch has left after its first `start` samples; equal on all ranks."""
        full, rest = divmod(max(len(self.indices) - start, 0), self.global_batch_size)
        return full if self.train else full + bool(rest)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """(N,) int64: all samples in this epoch's order."""
        if not self.train:
            return self.indices
        # A key belongs to an index, not to a position, so a subset keeps the whole set's order.
        count = int(self.indices.max(initial=-1)) + 1
        keys = order_keys(np.uint64(self.seed), np.uint64(epoch), count)[self.indices]
        return self.indices[np.argsort(keys, kind="stable")]

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[np.ndarray]:
        """This rank's share of each global batch, after the epoch's first `start` samples."""
        order = self.epoch_order(epoch)[start:]
        for number in range(self.num_batches(start=start)):
            batch = order[number * self.global_batch_size :][: self.global_batch_size]
            padding = -len(batch) % self.world_size
            batch = np.concatenate((batch, np.full(padding, -1, np.int64)))
            share = len(batch) // self.world_size
            yield batch[self.rank * share :][:share]
