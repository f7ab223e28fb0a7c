"""Between the passes: what was found of all pictures, and the order in which they are stored."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..order import shuffled
from ..sources import Source
from .contract import STORED
from .tasks import CHUNK
from .workplace import Workplace


@dataclass(frozen=True)
class Notes:
    """Told of the first pass."""

    rejected: dict[int, str]
    """Index → reason."""
    converted: Counter[str]
    """By reason."""


def gather(place: Workplace, count: int) -> tuple[np.ndarray, Notes]:
    """(N,) records of `EXAMINED`, of all chunks."""
    tables = []
    notes = Notes({}, Counter())
    for chunk in range(-(-count // CHUNK)):
        table, told = place.load_examined(chunk)
        tables.append(table)
        notes.rejected.update({int(index): reason for index, reason in told["rejected"].items()})
        notes.converted.update(told["converted"])
    return np.concatenate(tables), notes


def warm_up() -> None:
    """Load what the order takes, which is compiled."""
    shuffled(np.arange(1), seed=0)


def order_samples(source: Source, examined: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) records of `STORED` in the order to be stored, and (N,) where they are spooled."""
    kept = np.flatnonzero(~examined["is_rejected"])
    if not len(kept):
        raise UserError(f"SRC: none of its {len(examined):,} pictures can be stored")
    order = shuffled(kept, seed=seed)
    samples = np.zeros(len(order), STORED)
    for name in ("kind", "length", "width", "height", "pieces"):
        samples[name] = examined[name][order]
    samples["index"], samples["label"] = order, source.labels[order]
    return samples, examined["spooled"][order]
