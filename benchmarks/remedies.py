"""What helps, and what it would give, by the arithmetic of `bounds`."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from .bounds import Figures, bounds

_WORTH = 1.03  # a gain that is told
_MOST_REMEDIES = 4
_MUCH_READING = 0.1  # of the loader's time


class Remedy(NamedTuple):
    """Something to change."""

    text: str
    gain: float
    """Predicted: how many times as many images per second."""


def find_remedies(figures: Figures) -> list[Remedy]:
    """Those that help, the best first."""
    now = min(bounds(figures).values())
    found = []
    for propose in _PROPOSALS:
        for text, changed in propose(figures):
            gain = min(bounds(changed).values()) / now
            if gain >= _WORTH:
                found.append(Remedy(text, gain))
    return sorted(found, key=lambda remedy: -remedy.gain)[:_MOST_REMEDIES]


Proposal = Iterator[tuple[str, Figures]]


def _more_workers(figures: Figures) -> Proposal:
    most = max(figures.cores - 1, 1) if figures.is_gpu else figures.cores
    if 0 < figures.num_workers < most:
        rate = figures.loader_rate * most / figures.num_workers
        yield f"data.num_workers={most}", replace(figures, loader_rate=rate, num_workers=most)


def _more_cores(figures: Figures) -> Proposal:
    if not figures.is_gpu or not math.isfinite(figures.step_rate):
        return
    needed = (figures.step_core_ms + figures.loader_core_ms) * figures.step_rate / 1000
    missing = math.ceil(needed) - figures.cores
    if missing > 0:
        cores = figures.cores + missing
        rate = max(figures.step_rate, figures.loader_rate)
        word = "core" if missing == 1 else "cores"
        text = f"{missing} more {word} for loading, which would feed this GPU"
        yield text, replace(figures, cores=cores, loader_rate=rate)


def _smaller_pictures(figures: Figures) -> Proposal:
    convert = f"swiftsiam convert {figures.data} SMALL.beton --to beton"
    if figures.smaller is not None:
        small = figures.without(decode=figures.smaller.decode, crop=figures.smaller.crop)
        yield f"{convert} --max-side 256", small
    if figures.part("decode"):
        side = " --max-side 256" if figures.smaller is not None else ""
        crop = figures.smaller.crop if figures.smaller is not None else 1.0
        raw = figures.without(decode=0.0, crop=crop)
        yield f"{convert} --mode raw{side} (larger on disk)", raw


def _faster_reading(figures: Figures) -> Proposal:
    if figures.part("read") > _MUCH_READING * figures.loader_ms:
        text = "a faster disk, or one large file or shards in place of small files, at most"
        yield text, figures.without(read=0.0)


def _views_on_gpu(figures: Figures) -> Proposal:
    if figures.is_gpu and not figures.makes_views_on_gpu:
        yield "loader.device=gpu (colours and blur beside the step)", figures.without(colour=0.0)


_PROPOSALS: tuple[Callable[[Figures], Proposal], ...] = (
    _more_workers,
    _more_cores,
    _smaller_pictures,
    _faster_reading,
    _views_on_gpu,
)
