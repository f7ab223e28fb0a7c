"""Which figures of a table are told apart, and how far its order is the paper's."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .outcome import Outcome

UNKNOWN_MARGIN = 2.0
"""Percent of kNN, of two figures of one seed each. Runs of this length on CIFAR-10 deviate by 0.74
points (docs/lab), and their differences by 1.05: this is twice as much."""
_TOLD_APART = 0.5  # percent: less the paper itself calls alike
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Pooled:
    """How kNN deviates between the seeds of a row, by all rows of a table together."""

    deviation: float
    """Of a single run, percent."""
    degrees: int
    """Of freedom."""

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Pooled | None":
        """None: no row has two runs that came to their end."""
        found = [values for outcome in outcomes if len(values := outcome.values("knn")) > 1]
        degrees = sum(len(values) - 1 for values in found)
        if not degrees:
            return None
        squares = sum((len(values) - 1) * statistics.variance(values) for values in found)
        return cls(math.sqrt(squares / degrees), degrees)

    def margin(self, one: int, other: int) -> float:
        """By which the means of so many runs each must differ (Student's test, two-sided)."""
        from scipy.special import stdtrit  # takes half a second, which other commands keep

        quantile = float(stdtrit(self.degrees, (1 + _CONFIDENCE) / 2))
        return quantile * self.deviation * math.sqrt(1 / one + 1 / other)


class Order(NamedTuple):
    """How far ours is the paper's order: pairs (better, worse) of the paper."""

    same: list[tuple[str, str]]
    """So here, by more than the margin."""
    undecided: list[tuple[str, str]]
    reversed: list[tuple[str, str]]


def compare_order(outcomes: Sequence[Outcome]) -> Order:
    """Each pair of a family that the paper tells apart, by kNN here."""
    order = Order([], [], [])
    pooled = Pooled.of(outcomes)
    known = [o for o in outcomes if isinstance(o.row.published, float | int) and o.values("knn")]
    for better, worse in itertools.permutations(known, 2):
        is_family = better.row.family == worse.row.family
        gap = round(_published(better) - _published(worse), 6)  # as it is printed
        if not is_family or gap < _TOLD_APART:
            continue
        a, b = better.values("knn"), worse.values("knn")
        difference = statistics.fmean(a) - statistics.fmean(b)
        margin = pooled.margin(len(a), len(b)) if pooled else UNKNOWN_MARGIN
        pair = better.row.what, worse.row.what
        if abs(difference) <= margin:
            order.undecided.append(pair)
        elif difference > 0:
            order.same.append(pair)
        else:
            order.reversed.append(pair)
    return order


def _published(outcome: Outcome) -> float:
    assert isinstance(outcome.row.published, float | int)
    return float(outcome.row.published)
