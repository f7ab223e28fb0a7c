"""Runs that another table has made already: the same configuration over the same pictures."""

from collections.abc import Iterator
from pathlib import Path

from ...pipeline.errors import UserError
from ..config import Config, replace
from .plan import PLAN, Plan, parse_row, read_plan
from .runs import Wanted, list_wanted


def borrow_runs(plan: Plan, folder: Path) -> list[str]:
    """Link what lies in the folders beside this one, rather than run it again.

    Args:
        plan: of the table.
        folder: of it.

    Returns:
        What was found, a line each.
    """
    known = {_key(other, each): each for other, each in _list_done(folder)}
    told = []
    for each in list_wanted(plan, folder):
        twin = known.get(_key(plan, each))
        if twin is None or each.path.exists():
            continue
        each.path.parent.mkdir(parents=True, exist_ok=True)
        each.path.symlink_to(Path("../..") / twin.path.relative_to(folder.parent))
        told.append(f"{each.path.name}: taken from {twin.path.relative_to(folder.parent)}")
    return told


def _list_done(folder: Path) -> Iterator[tuple[Plan, Wanted]]:
    """Of all tables but this one."""
    for path in sorted(folder.parent.glob(f"*/{PLAN}")):
        if path.parent == folder:
            continue
        try:
            plan = read_plan(path)
        except UserError:  # of another version, or damaged: it has nothing to give
            continue
        for each in list_wanted(plan, path.parent):
            if each.is_done and not each.path.is_symlink():
                yield plan, each


def _key(plan: Plan, each: Wanted) -> tuple[Config, str]:
    """What is learnt depends on nothing else; kNN before training is the same anyway."""
    config = parse_row(plan.config, each.overrides)
    return replace(config, eval={"floors": False}), plan.data["digest"]
