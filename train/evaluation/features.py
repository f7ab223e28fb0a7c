"""Features on the disk: made once, in float16, read by pages."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...pipeline.files import write_atomically
from ...pipeline.loader import Loader
from ...pipeline.world import World
from .encoder import each_batch

_STATE = "features.json"
_SAVE_EVERY = 64  # batches: as many are made again after a kill, at most


class CachedFeatures(NamedTuple):
    """Pooled features with their labels."""

    features: np.ndarray
    """(N, d) float16, in the listing's order, on the disk."""
    labels: np.ndarray
    """(N,) int64."""


class FeatureCache:
    """A folder with the features of one set of pictures."""

    def __init__(self, folder: Path, identity: dict[str, Any], *, count: int) -> None:
        """
        Args:
            folder: exists; others' features in it are written over.
            identity: what they depend on: weights, pictures, views.
            count: pictures.
        """
        self._folder = folder
        self._identity = json.loads(json.dumps(identity))
        self.count = count
        self.rows, self.done = self._read_state()

    def _read_state(self) -> tuple[int, int]:
        """Rows that are written, and pictures that they were made of."""
        try:
            state = json.loads((self._folder / _STATE).read_text())
        except (FileNotFoundError, ValueError):
            return 0, 0
        return (state["rows"], state["done"]) if state["identity"] == self._identity else (0, 0)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def write(
        self, batches: Iterator[tuple[np.ndarray, ...]], *, tick: Callable[[int], None]
    ) -> None:
        """Add what is missing.

        Args:
            batches: (B, d) float16 features, labels and indices of the pictures that are not done.
            tick: told how many are.

        Raises:
            OSError: the disk.
        """
        files: list[np.memmap] = []
        for number, (features, labels, index) in enumerate(batches, 1):
            files = files or self._open(features.shape[1])
            kept = index >= 0
            rows = slice(self.rows, self.rows + int(kept.sum()))
            files[0][rows], files[1][rows] = features[kept], labels[kept]
            self.rows = rows.stop
            # Bad pictures have no index, but are done: the last batch's padding is none of them.
            self.done = min(self.done + len(index), self.count)
            tick(self.done)
            if number % _SAVE_EVERY == 0 or self.done == self.count:
                self._save(files)

    def _open(self, width: int) -> list[np.memmap]:
        shapes = {
            "features": ((self.count, width), np.float16),
            "labels": ((self.count,), np.int64),
        }
        files = []
        if not self.done:  # before others' rows are written over, or a kill would leave a lie
            (self._folder / _STATE).unlink(missing_ok=True)
        for name, (shape, dtype) in shapes.items():
            path, mode = self._file(name), "r+" if self.done else "w+"
            files.append(np.lib.format.open_memmap(path, mode, dtype=dtype, shape=shape))
            with open(path, "r+b") as file:  # a disk that is full would kill us at some page
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        return files

    def _save(self, files: list[np.memmap]) -> None:
        for file in files:
            file.flush()
        state = {"rows": self.rows, "done": self.done, "identity": self._identity}
        write_atomically(self._folder / _STATE, json.dumps(state).encode())

    def read(self) -> CachedFeatures:
        """All of them, once they are there."""
        assert self.done == self.count
        features, labels = (np.load(self._file(n), mmap_mode="r") for n in ("features", "labels"))
        return CachedFeatures(features[: self.rows], np.array(labels[: self.rows]))


def fill(
    cache: FeatureCache | None,
    backbone: nn.Module,
    open_rest: Callable[[int], Loader],
    *,
    autocast: torch.autocast,
    world: World,
    tick: Callable[[int], None],
) -> list[str]:
    """Make the features that are missing. All ranks call it.

    Args:
        cache: the first rank's; None on others.
        backbone: in eval mode, on its device.
        open_rest: this rank's loader of all pictures but so many.
        autocast: of the forward pass.
        world: the ranks that share the batches.
        tick: told, on the first rank, how many pictures are done.

    Returns:
        Names of the pictures that could not be read now, of all ranks.
    """
    done, count = world.once(lambda: _progress(cache))
    if done == count:
        return []
    with open_rest(done) as loader:
        batches = _gathered(each_batch(backbone, loader, autocast=autocast), world)
        if cache is not None:
            cache.write(_on_the_host(batches), tick=tick)
        else:
            for _ in batches:  # its part of each is with the first rank now
                pass
        return [bad.key for rank in world.gather(loader.bad_samples) for bad in rank.values()]


def _progress(cache: FeatureCache | None) -> tuple[int, int]:
    assert cache is not None, "the first rank has the files"
    return cache.done, cache.count


def _gathered(
    batches: Iterator[tuple[torch.Tensor, ...]], world: World
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Of all ranks, in the order of the listing; features in float16."""
    for features, labels, index in batches:
        with torch.inference_mode():
            yield tuple(map(world.gather_rows, (features.half(), labels, index)))


def _on_the_host(
    batches: Iterator[tuple[torch.Tensor, ...]],
) -> Iterator[tuple[np.ndarray, ...]]:
    """One batch behind the device, so that it computes the next while this one is written."""
    pending: tuple[tuple[torch.Tensor, ...], torch.cuda.Event | None] | None = None
    for batch in batches:
        copied = _copy(batch)
        if pending is not None:
            yield _finish(*pending)
        pending = copied
    if pending is not None:
        yield _finish(*pending)


def _copy(
    batch: tuple[torch.Tensor, ...],
) -> tuple[tuple[torch.Tensor, ...], torch.cuda.Event | None]:
    if batch[0].device.type != "cuda":
        return batch, None
    copies = tuple(
        torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True)
        for part in batch
    )
    event = torch.cuda.Event()
    event.record()
    return copies, event


def _finish(
    batch: tuple[torch.Tensor, ...], event: torch.cuda.Event | None
) -> tuple[np.ndarray, ...]:
    if event is not None:
        event.synchronize()
    return tuple(part.numpy() for part in batch)
