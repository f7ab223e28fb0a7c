"""The runs that a table asks for."""

import json
from dataclasses import dataclass
from pathlib import Path

from ..divergence import NAME as DIVERGED
from ..run import SUMMARY
from ..versions import describe_version
from .plan import Plan, Planned

RUNS, RECIPE, LOGS = "runs", "recipe.yaml", "logs"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One row with one seed."""

    planned: Planned
    seed: int
    path: Path
    """Of its run folder."""
    is_first: bool
    """Whether kNN before training is measured as well, of which one run is enough."""

    @property
    def name(self) -> str:
        """Of its folder and its log."""
        return self.path.name

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end, if only by losing its finite numbers."""
        return (self.path / SUMMARY).exists() or self.has_diverged

    @property
    def has_diverged(self) -> bool:
        """Whether its loss or a gradient was not finite."""
        return (self.path / DIVERGED).exists()

    @property
    def version(self) -> str | None:
        """Of the project, by which it came to its end; None: it has not, or does not tell."""
        try:
            return describe_version(json.loads((self.path / SUMMARY).read_bytes())["versions"])
        except (OSError, ValueError, KeyError):
            return None

    @property
    def overrides(self) -> list[str]:
        """Of `swiftsiam pretrain`, over the recipe."""
        floors = ["eval.floors=true"] if self.is_first else []
        return [*self.planned.overrides, f"train.seed={self.seed}", *floors]


def list_wanted(plan: Plan, folder: Path) -> list[Wanted]:
    """All rows with the first seed, then with the next: a table is whole as early as can be."""
    return [
        Wanted(
            planned=planned,
            seed=seed,
            path=folder / RUNS / f"{planned.row.name}-s{seed}",
            is_first=seed == 0 and planned is plan.rows[0],
        )
        for seed in range(plan.seeds)
        for planned in plan.rows
    ]
