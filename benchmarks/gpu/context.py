"""What every part is given: the device, sizes that suit it, a clock, and the form of a record."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..spread import spread

Record = dict[str, Any]
"""`part`, `name`, `holds` (None: only told) and whatever was found out."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is done."""

    size: int
    """Side of a view, px."""
    batch: int
    backbone: str
    num_pictures: int
    """JPEGs that the loaders read."""
    num_resident: int
    """Pictures of 32 px that lie on the device."""
    many_views: int
    """Of a launch beyond 2^31 elements; on a CPU simply some."""
    rounds: int
    images: int
    """In a round of a loader."""
    megabytes: int
    """Of a copy."""
    side: int
    """Of the matrices of a product."""


CARD = Sizes(
    size=224,
    batch=512,
    backbone="resnet50",
    num_pictures=2000,
    num_resident=50_000,
    many_views=14_300,
    rounds=5,
    images=8192,
    megabytes=512,
    side=8192,
)
TOY = Sizes(
    size=32,
    batch=4,
    backbone="cifar_resnet18_w16",
    num_pictures=24,
    num_resident=64,
    many_views=16,
    rounds=1,
    images=8,
    megabytes=1,
    side=64,
)
"""For `--rehearse`: every line runs, and no figure means anything."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """Of one part."""

    part: str
    device: torch.device
    sizes: Sizes
    folder: Path
    """For files that parts share: generated pictures."""
    data: Path | None
    """Pictures to load instead of generated ones."""

    @property
    def is_cuda(self) -> bool:
        """Or else a rehearsal."""
        return self.device.type == "cuda"

    @property
    def precision(self) -> str:
        """Of a step: what a card trains in, and what any CPU computes without emulation."""
        return "bf16" if self.is_cuda else "fp32"

    def check(self, name: str, holds: bool | None, **found: Any) -> Record:
        """Something that is right or wrong; None where it could not be tried."""
        return {"part": self.part, "name": name, "holds": holds, **found}

    def rate(
        self, name: str, values: list[float], *, scope: str, engine: str, work: str, **more: Any
    ) -> Record:
        """Images per second, in the form of every benchmark of the house."""
        return {
            "part": self.part,
            "name": name,
            "holds": None,
            "scope": scope,
            "engine": engine,
            "images_per_s": spread(values),
            "batch_size": self.sizes.batch,
            "work": work,
            **more,
        }

    def synchronize(self) -> None:
        """Wait until everything is done."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """From an idle device to an idle device."""
        self.synchronize()
        begun = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - begun

    @contextlib.contextmanager
    def waits_refused(self) -> Iterator[None]:
        """Whatever makes the host wait for the device raises."""
        if not self.is_cuda:
            yield
            return
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def interleaved(
    contestants: dict[str, Callable[[], float]], *, rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Each contestant's values, asked in turn so that all see the same neighbours.

    A contestant that fails leaves the race, and has no values.
    """
    values: dict[str, list[float]] = {name: [] for name in contestants}
    racing = dict(contestants)
    for number in range(-warm_up, rounds):
        for name, measure in list(racing.items()):
            try:
                value = measure()
            except (RuntimeError, AssertionError) as error:  # out of memory, not compiled
                print(f"{name}: {type(error).__name__}: {str(error).strip()[:300]}", flush=True)
                del racing[name]
                values[name] = []
                continue
            if number >= 0:
                values[name].append(value)
    return values
