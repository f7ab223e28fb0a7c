"""Runs that another table has made already: the same configuration over the same pictures."""

from collections.abc import Iterator
from pathlib import Path

from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ..config import Config, replace
from ..divergence import NAME as DIVERGED
from ..run import CONFIG, EXIT_CODE, METRICS, SUMMARY
from ..versions import describe_version
from .plan import PLAN, Plan, parse_row, read_plan
from .runs import Wanted, list_wanted

_CHANGED = "-dirty"
"""Ends the version of a checkout with changes that are not committed."""


def borrow_runs(plan: Plan, folder: Path) -> list[str]:
    """Copy what lies in the folders beside this one, rather than run it again: figures and
    configuration, no weights. What becomes of the other folder then is its own affair.

    Args:
        plan: of the table.
        folder: of it.

    Returns:
        What was found, a line each.
    """
    wanted = [each for each in list_wanted(plan, folder) if not each.path.exists()]
    version = describe_version()
    if not wanted or version.endswith(_CHANGED):  # by which code it was cannot be known
        return []
    # Of two that learnt the same, the one that has measured kNN before training comes last.
    done = sorted(_list_done(folder, version), key=lambda found: found[1].is_first)
    known = {_key(other, each): each for other, each in done}
    told = []
    for each in wanted:
        twin = known.get(_key(plan, each))
        if twin is None or (each.is_first and not twin.is_first):
            continue
        _copy(twin.path, each.path)
        told.append(f"{each.path.name}: taken from {twin.path.relative_to(folder.parent)}")
    return told


def _copy(source: Path, target: Path) -> None:
    """Whole, or not there: the summary, by which it counts as done, comes last."""
    target.mkdir(parents=True)
    for name in (CONFIG, METRICS, EXIT_CODE, DIVERGED, SUMMARY):
        if (source / name).exists():
            write_atomically(target / name, (source / name).read_bytes())


def _list_done(folder: Path, version: str) -> Iterator[tuple[Plan, Wanted]]:
    """Of all tables but this one, as far as this version has made them."""
    for path in sorted(folder.parent.glob(f"*/{PLAN}")):
        if path.parent == folder:
            continue
        try:
            plan = read_plan(path)
        except UserError:  # of another version, or damaged: it has nothing to give
            continue
        for each in list_wanted(plan, path.parent):
            if each.is_done and each.version == version:
                yield plan, each


def _key(plan: Plan, each: Wanted) -> tuple[Config, str, str]:
    """What this version learns depends on nothing else; kNN before training is no part of it."""
    config = replace(parse_row(plan.config, each.overrides), eval={"floors": False})
    return config, plan.data.digest, plan.data.val_digest
