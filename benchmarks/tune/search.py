"""The search: one setting after another, each change proven before it is kept.

The candidates of a setting race the settings as they are, interleaved, in few rounds. The best of
them, if it seems to be better at all, then races them once more in processes of their own and more
rounds. It is kept only if it was faster in each single round of those, which for equal ones happens
once in 2^9 tries, and by `LEAST` in the median.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..spread import spread

Changes = dict[str, Any]
"""By `section.key`, over the configuration that was given."""
Measure = Callable[[list[Changes], int], list[list[float]]]
"""(settings, rounds) → images/s of each in each round, interleaved; empty for one that failed."""
Propose = Callable[[Changes], list[Changes]]
"""(changes so far) → candidates of a setting, each of which is what is to be changed."""

LEAST = 1.02
"""A gain that is worth a change."""
_TRIAL_ROUNDS, _PROOF_ROUNDS = 3, 9
_MOST_PASSES = 20


class Gain(NamedTuple):
    """How many times as many images per second."""

    median: float
    low: float
    high: float
    """Of the single rounds."""
    n: int

    @property
    def is_proven(self) -> bool:
        """Faster in every round, and by enough to be worth it."""
        return self.low > 1 and self.median >= LEAST

    def __str__(self) -> str:
        return f"{self.median:.2f} x ({self.low:.2f} to {self.high:.2f}, n = {self.n})"


@dataclass
class Search:
    """What was found, and all that was tried."""

    changes: Changes = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    is_cut: bool = False
    """Time ran out."""


def compare(before: list[float], after: list[float]) -> Gain:
    """The gain from rounds that were taken in pairs."""
    ratios = [new / old for old, new in zip(before, after, strict=True)]
    return Gain(spread(ratios)["median"], min(ratios), max(ratios), len(ratios))


def search(
    proposals: dict[str, Propose],
    measure: Measure,
    *,
    has_time: Callable[[], bool],
    tell: Callable[[str], None],
) -> Search:
    """Change one setting after another, again from the first one whenever that helped.

    Args:
        proposals: what to try, by the name of each setting.
        measure: how fast that is.
        has_time: whether another race may begin.
        tell: gets each line, as it comes.
    """
    found = Search()
    tried_at: dict[str, Changes] = {}
    for _ in range(_MOST_PASSES):
        before = found.changes
        for name, propose in proposals.items():
            candidates = propose(found.changes)
            if not candidates or tried_at.get(name) == found.changes:
                continue
            if not has_time():
                found.is_cut = True
                return found
            tried_at[name] = found.changes
            line, found.changes = _try(name, candidates, found.changes, measure)
            found.lines.append(line)
            tell(line)
            if found.changes != before:
                break  # what weighs most stands first, and may be another now
        if found.changes == before:
            break
    return found


def _try(
    name: str, candidates: list[Changes], changes: Changes, measure: Measure
) -> tuple[str, Changes]:
    """A line on this setting, and the changes behind it."""
    tried = [changes | candidate for candidate in candidates]
    incumbent, *others = measure([changes, *tried], _TRIAL_ROUNDS)
    gains = [compare(incumbent, rates) if rates else _FAILED for rates in others]
    best = max(range(len(gains)), key=lambda number: gains[number].median)
    told = ", ".join(map(_tell, candidates, gains))
    if gains[best].median < LEAST:
        return f"{name}: none is faster ({told})", changes
    old, new = measure([changes, tried[best]], _PROOF_ROUNDS)
    if not (old and new):
        return f"{name}: could not be measured again ({told})", changes
    proof = compare(old, new)
    chosen = " ".join(tell_changes(candidates[best]))
    if proof.is_proven:
        return f"{name}: kept {chosen}, {proof}", tried[best]
    return f"{name}: not kept {chosen}, {proof}: may be noise", changes


_FAILED = Gain(-math.inf, -math.inf, -math.inf, 0)


def _tell(candidate: Changes, gain: Gain) -> str:
    name = " ".join(tell_changes(candidate))
    return f"{name} failed" if gain is _FAILED else f"{name} {gain.median:.2f} x"


def tell_changes(changes: Changes) -> Iterator[str]:
    """As they are written on a command line."""
    for key, value in changes.items():
        yield f"{key}={'null' if value is None else value}"
