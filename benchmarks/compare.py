"""`swiftsiam bench compare A.json B.json`: what became slower, what faster, what cannot be said.

Method: what stands in both files is compared by core-milliseconds an image, or, where it ran on a
GPU, by images per second. The ratio of two medians has the uncertainty of both, from interquartile
ranges and numbers of rounds, and that of two runs at different times, which is in neither of them
(`DRIFT`, measured: see benchmarks/README.md); they are independent, and their squares add up.
Beyond that it is a change. A ratio that excludes a change of `WANTED` is equal; one that does
neither is undecided.

Exit code: 0 nothing is slower, 3 something is, 4 nothing is but something is undecided; 2 the files
cannot be compared.
"""

import argparse
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, user_path
from ..pipeline.errors import UserError
from .neighbours import MOST_OTHERS
from .results import Record, name_record, read_records, schema

DRIFT = 0.04
"""Two runs of the same code on one machine differ by so much of their core time, at most."""
WANTED = 0.10
"""A change that must be seen: equal is what excludes it."""
_SIGMAS = 2.0
_OF_MEDIAN = 1.2533 / 1.349  # standard error of a median, in interquartile ranges / sqrt(n)

Outcome = Literal["equal", "slower", "faster", "undecided"]
EXIT_SLOWER, EXIT_UNDECIDED = 3, 4


@dataclass(frozen=True, kw_only=True)
class Change:
    """Of one record."""

    name: str
    what: str
    """Of the figures."""
    before: float
    after: float
    slowdown: float
    """How many times as long an image takes."""
    margin: float
    """Of the slowdown: it means nothing within."""

    @property
    def outcome(self) -> Outcome:
        """In a word."""
        if self.slowdown - 1 > self.margin:
            return "slower"
        if 1 / self.slowdown - 1 > self.margin:
            return "faster"
        farthest = max(self.slowdown, 1 / self.slowdown) + self.margin
        return "equal" if farthest < 1 + WANTED else "undecided"


def compare(before: list[Record], after: list[Record]) -> list[Change]:
    """All that stands in both, in the order of the second.

    Raises:
        UserError: nothing does, or the machines were too busy, or are not the same.
    """
    _check_machines(before, after)
    old = {name_record(record): record for record in before}
    pairs = [(name, old[name], new) for new in after if (name := name_record(new)) in old]
    changes = [change for name, a, b in pairs if (change := _compare(name, a, b)) is not None]
    if not changes:
        raise UserError("A.json, B.json: nothing stands in both; compare runs with equal arguments")
    return changes


def _compare(name: str, before: Record, after: Record) -> Change | None:
    is_cpu = before["machine"]["gpu"] is None
    what = "core_ms_per_image" if is_cpu else "images_per_s"
    if not all(record.get(what, {}).get("median") for record in (before, after)):
        return None  # no rate, or core time below what the system counts
    a, b = before[what], after[what]
    ratio = b["median"] / a["median"]
    return Change(
        name=name,
        what=what,
        before=a["median"],
        after=b["median"],
        slowdown=ratio if is_cpu else 1 / ratio,
        margin=math.hypot(DRIFT, _SIGMAS * _uncertainty(a), _SIGMAS * _uncertainty(b)),
    )


def _uncertainty(figure: dict[str, Any]) -> float:
    """Relative standard error of a median. Of a single round nothing is known."""
    if figure["n"] < 2:
        return math.inf
    return _OF_MEDIAN * figure["iqr"] / math.sqrt(figure["n"]) / figure["median"]


def _check_machines(before: list[Record], after: list[Record]) -> None:
    for file, records in (("A.json", before), ("B.json", after)):
        for record in records:
            percent = (record.get("surroundings") or {}).get("others_percent", 0.0)
            if percent > MOST_OTHERS:
                raise UserError(
                    f"{file}: others took {percent:.0f} % of the cores while {name_record(record)} "
                    f"was measured, and above {MOST_OTHERS:.0f} % even core time is not its own; "
                    "measure again on a quiet machine"
                )
    old, new = (" and ".join(sorted(set(map(_name_machine, some)))) for some in (before, after))
    if old != new:
        raise UserError(f"A.json, B.json: of different machines ({old}; {new})")


def _name_machine(record: Record) -> str:
    machine = record["machine"]
    return machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench compare`."""
    parser = Parser(
        prog="swiftsiam bench compare",
        description="Say what of B is slower or faster than in A, beyond the noise.",
        epilog="exit code: 0 nothing is slower, 3 something is, 4 something is undecided, 2 they "
        "cannot be compared",
    )
    parser.add_argument("files", nargs="*", type=user_path, metavar="A.json B.json")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of results")
    args = parser.parse_args(argv)
    if not args.schema and len(args.files) != 2:
        raise UserError("bench compare: give two files, A.json and B.json")
    return args


def main(argv: list[str]) -> int:
    """Compare, print; see the module for the exit code."""
    args = parse_arguments(argv)
    if args.schema:
        print(json.dumps(schema(), indent=1))
        return 0
    names = ("A.json", "B.json")
    before, after = (
        read_records(path, field=name) for path, name in zip(args.files, names, strict=True)
    )
    changes = compare(before, after)
    _show(changes, num_before=len(before), num_after=len(after))
    outcomes = {change.outcome for change in changes}
    if "slower" in outcomes:
        return EXIT_SLOWER
    return EXIT_UNDECIDED if "undecided" in outcomes else 0


def _show(changes: list[Change], *, num_before: int, num_after: int) -> None:
    table = Table(title="B against A", title_justify="left")
    table.add_column("measured")
    for head in ("A", "B", "slowdown", "±", ""):
        table.add_column(head, justify="right", no_wrap=True)
    for change in changes:
        table.add_row(
            change.name,
            f"{change.before:,.3f}",
            f"{change.after:,.3f}",
            f"{change.slowdown:.3f}",
            f"{change.margin:.3f}",
            change.outcome,
        )
    console = Console(highlight=False)
    console.print(table)
    whats = " and ".join(sorted({change.what for change in changes}))
    console.print(f"by {whats}; slowdown: how many times as long an image takes; ±: noise")
    alone = num_before + num_after - 2 * len(changes)
    if alone:
        console.print(f"{alone} records have no match in the other file, or nothing to go by")
    worst = max(changes, key=lambda change: change.slowdown - change.margin)
    if worst.outcome == "slower":
        percent = 100 * (worst.slowdown - 1)
        console.print(f"verdict: slower: {worst.name} by {percent:.0f} %")
    else:
        outcomes = [change.outcome for change in changes]
        counts = {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        console.print(f"verdict: nothing is slower ({told})")
