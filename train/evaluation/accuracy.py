"""How many pictures a classifier gets right."""

from typing import NamedTuple

import torch

from ...pipeline.errors import UserError
from ...pipeline.loader import Loader
from ...pipeline.world import World
from .probe import Probe

_TOP = 5


class Accuracy(NamedTuple):
    """In percent."""

    top1: float
    top5: float
    """Of as many classes as there are, where they are fewer than five."""
    pictures: int
    """Those that can be read and have a label."""


def measure_accuracy(
    probe: Probe,
    loader: Loader,
    to_class: torch.Tensor,
    *,
    autocast: torch.autocast,
    world: World | None = None,
) -> Accuracy:
    """Accuracy over all samples of an evaluation loader, the network in eval mode.

    Args:
        probe: on the loader's device.
        loader: this rank's.
        to_class: (C,) int64: a label of the loader's pictures → the probe's class.
        autocast: the forward pass's context.
        world: the ranks that share the batches.

    Raises:
        UserError: none of the pictures can be read.
    """
    world = world or World()
    was_training = probe.training
    probe.eval()
    device = next(probe.parameters()).device
    to_class = to_class.to(device)
    right = torch.zeros(3, dtype=torch.int64, device=device)  # first, among five, all
    for batch in loader:
        with torch.inference_mode():
            with autocast:
                logits = probe.classify(batch.views[0])
            is_asked = (batch.index >= 0) & (batch.label >= 0)
            right += _count(logits, to_class[batch.label.clamp_min(0)], is_asked)
    probe.train(was_training)
    columns = zip(*world.gather(right.tolist()), strict=True)
    first, among, count = (sum(column) for column in columns)
    if not count:
        bad = [bad for rank in world.gather(loader.bad_samples) for bad in rank.values()]
        first_of_them = f"{bad[0].key}: {bad[0].reason}; " if bad else ""
        raise world.alike(
            UserError(f"{first_of_them}no picture of VAL has a label and can be read; check VAL")
        )
    return Accuracy(100 * first / count, 100 * among / count, count)


def _count(logits: torch.Tensor, classes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(3,) int64 of one batch; never waits for the device."""
    top = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices
    hits = (top == classes[:, None]) & mask[:, None]
    return torch.stack([hits[:, 0].sum(), hits.sum(), mask.sum()])
