"""Measured figures of a loader and a step, and what each of them allows; see `verdict`."""

import math
from dataclasses import dataclass, replace

from .smaller import Smaller


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured, of one machine, one data set and one configuration."""

    cores: int
    num_workers: int
    loader_rate: float
    """Images/s of the loader alone."""
    loader_core_ms: float
    """An image."""
    stages: dict[str, float]
    """Workers' time, ms an image, by the names of `pipeline.stages`, and `rest`."""
    step_rate: float = math.inf
    """Images/s on a cached batch; infinite: the loader alone is judged."""
    step_core_ms: float = 0.0
    end_to_end_rate: float | None = None
    """Images/s."""
    end_to_end_core_ms: float | None = None
    """An image, of step and loader at work together."""
    is_gpu: bool = False
    makes_views_on_gpu: bool = False
    data: str = "DATA"
    """For commands."""
    smaller: Smaller | None = None
    """What `convert --max-side 256` would make of them; None: they are small."""

    def part(self, name: str) -> float:
        """ms an image of one of the loader's PARTS."""
        if name == "views":
            return self.stages.get("crop", 0.0) + self.stages.get("colour", 0.0)
        return self.stages.get(name, 0.0)

    @property
    def loader_ms(self) -> float:
        """Workers' time, ms an image."""
        return sum(self.stages.values())

    def without(self, **shares: float) -> "Figures":
        """With only these shares of some stages left."""
        stages = {name: ms * shares.get(name, 1.0) for name, ms in self.stages.items()}
        saved = self.loader_ms - sum(stages.values())
        # Of reading, a worker may have waited for a part; no stage costs more than the core time.
        core_ms = max(self.loader_core_ms - saved, 0.0)
        if "read" in shares:
            core_ms = max(core_ms, min(self.loader_core_ms, sum(stages.values())))
        rate = self.loader_rate * self.loader_ms / max(sum(stages.values()), 1e-9)
        return replace(self, stages=stages, loader_core_ms=core_ms, loader_rate=rate)


def bounds(figures: Figures) -> dict[str, float]:
    """Images/s that each allows."""
    core_ms = figures.step_core_ms + figures.loader_core_ms
    return {
        "step": figures.step_rate,
        "loader": figures.loader_rate,
        "cores": 1000 * figures.cores / core_ms if core_ms else math.inf,
    }
