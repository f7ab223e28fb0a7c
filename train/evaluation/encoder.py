"""From pictures to features: a checkpoint's backbone, or the pixels themselves."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...pipeline.augment.spec import IMAGENET_MEAN, IMAGENET_STD
from ...pipeline.errors import UserError
from ...pipeline.loader import Loader
from ...pipeline.world import World

_RAW_SIDE = 8


class RawPixels(nn.Module):
    """The floor that needs no network: 8×8 area means of the picture, minus 0.5."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) normalised → (B, 192)."""
        pixels = view.float() * self.std + self.mean
        return F.adaptive_avg_pool2d(pixels, _RAW_SIDE).flatten(1) - 0.5


class Features(NamedTuple):
    """Normalised features with their labels and places in the listing."""

    features: torch.Tensor
    """(N, d) float32, of length 1."""
    labels: torch.Tensor
    """(N,) int64."""
    indices: torch.Tensor
    """(N,) int64; -1 for padding, of which `extract_features` leaves none."""


def extract_features(
    backbone: nn.Module,
    loader: Loader,
    *,
    autocast: torch.autocast,
    world: World | None = None,
) -> Features:
    """Pooled features of all samples of an evaluation loader, the network in eval mode.

    Args:
        backbone: views → features.
        loader: this rank's.
        autocast: the forward pass's context.
        world: the ranks that share the batches; each gets the features of all of them.

    Raises:
        UserError: none of the pictures can be read.
    """
    world = world or World()
    was_training = backbone.training
    backbone.eval()
    own = pool(backbone, loader, autocast=autocast, max_rows=loader.max_rows)
    pooled = Features(*(world.gather_rows(column) for column in own))
    backbone.train(was_training)
    rows = (pooled.indices >= 0).nonzero().squeeze(1)  # the one wait for the device
    if not len(rows):
        bad = [bad for rank in world.gather(loader.bad_samples) for bad in rank.values()]
        raise world.alike(
            UserError(
                f"{bad[0].key}: {bad[0].reason}; nor can any other of the {len(bad)} pictures be "
                "read, and kNN needs some; check the data"
            )
        )
    if len(rows) == len(pooled.indices):  # the usual case, and no second copy of the features
        return pooled
    return Features(*(column[rows] for column in pooled))


def each_batch(
    backbone: nn.Module, loader: Loader, *, autocast: torch.autocast
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(B, d) features as the network makes them, labels and indices; never waits for the device."""
    # The loader works outside of inference mode: a tensor that it keeps may meet autograd later.
    for batch in loader:
        with torch.inference_mode(), autocast:
            features = backbone(batch.views[0])
        yield features, batch.label, batch.index


def pool(
    backbone: nn.Module, loader: Loader, *, autocast: torch.autocast, max_rows: int
) -> Features:
    """Features of all rows that the loader yields, padding included; never waits for the device.

    Args:
        backbone: views → features.
        loader: or its batches.
        autocast: the forward pass's context.
        max_rows: at most so many come: one place for all, since pieces that are put together at
            the end take twice the memory.
    """
    columns: tuple[torch.Tensor, ...] | None = None
    done = 0
    for batch in each_batch(backbone, loader, autocast=autocast):
        with torch.inference_mode():
            normalized = (F.normalize(batch[0].float(), dim=1), *batch[1:])
            if columns is None:
                columns = tuple(part.new_empty(max_rows, *part.shape[1:]) for part in normalized)
            rows = slice(done, done + len(batch[0]))
            for column, part in zip(columns, normalized, strict=True):
                column[rows] = part
            done = rows.stop
    assert columns is not None, "an evaluation has a batch at least"
    with torch.inference_mode():
        return Features(*(column[:done] for column in columns))
