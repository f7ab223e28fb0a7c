"""What a table of the laboratory is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Figure = float | str
"""As published: percent, or a word."""

Grid = tuple[tuple[str, tuple[str, ...]], ...]
"""Keys, and the values of each."""

BASE = "simsiam"
"""Name of the row that is SimSiam itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant: what is laid over the recipe."""

    name: str
    """Names a folder as well: letters, digits and dashes."""
    what: str
    """In words, as the picture's legend has it."""
    overrides: tuple[str, ...] = ()
    """`section.key=value`, in which {name} stands for a number of `plan.scale_of`."""
    published: Figure | None = None
    """The paper's figure: linear evaluation on ImageNet, 100 epochs; None: it has none."""
    collapses: bool = False
    """Whether the paper finds it to collapse."""
    family: str = ""
    """Only figures of one family are compared with each other."""

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", self.name), self.name

    def fill(self, scale: Mapping[str, int]) -> list[str]:
        """The overrides in numbers."""
        return [override.format_map(scale) for override in self.overrides]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Variants that answer one question."""

    title: str
    """The question."""
    source: str
    """Where the paper has it; or that it has not."""
    rows: tuple[Row, ...]
    note: str = ""
    """What must be known to read it."""
    grid: Grid = ()
    """Of a sweep: its keys and their values; the rows are all combinations of them."""

    @property
    def is_of_paper(self) -> bool:
        """Whether the paper has figures of it."""
        return any(row.published is not None for row in self.rows)
