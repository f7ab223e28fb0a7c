"""The records of metrics.jsonl: which of their numbers are figures of the method."""

from collections.abc import Iterable, Mapping
from typing import Any

_OTHERS = frozenset(
    (
        *("type", "step", "epoch", "epoch_progress", "lr"),
        *("images_per_s", "data_wait_percent", "memory_gb", "mfu_percent"),
    )
)
"""Of a record of training: where it stands and at what pace."""


def figure_names(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of records of training, in the order in which they came first."""
    names = {name: None for record in steps for name in record if name not in _OTHERS}
    return list(names)


def last_figures(steps: list[dict[str, Any]]) -> dict[str, float]:
    """The last value of each; some come at the end of an epoch alone."""
    figures: dict[str, float] = {}
    for record in steps:
        figures |= {name: record[name] for name in figure_names([record])}
    return {name: figures[name] for name in figure_names(steps)}
