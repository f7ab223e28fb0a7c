"""A small grid over any keys, as a table of the laboratory."""

import itertools
from collections.abc import Sequence

from ...pipeline.errors import UserError
from ..config import split_override
from .table import Row, Table

_MOST = 100
_OWN = {
    "train.seed": "--seeds",
    "train.epochs": "--epochs, or the table training-length",
    "data.limit": "--pictures",
    "data.path": "--data",
    "data.val_path": "--val",
    "eval.every": "nothing: four evaluations of each run",
    "eval.floors": "nothing: of one run",
    "train.on_collapse": "nothing: a collapse is looked on",
}
"""Keys that the laboratory sets by itself, and what sets them."""


def refuse_own(name: str) -> None:
    """Raise UserError for a key that the laboratory sets."""
    if name in _OWN or name.startswith("run."):
        by = _OWN.get(name, "--out")
        raise UserError(f"{name}: set by the laboratory itself, by {by}; leave it out")


def build_grid(keys: Sequence[str]) -> Table:
    """All combinations of the keys' values.

    Args:
        keys: `section.key=V1,V2,…` each.

    Raises:
        UserError: not of this form, or too many.
    """
    axes: list[tuple[str, list[str]]] = []
    for text in keys:
        section, key, _ = split_override(text)
        name = f"{section}.{key}"
        refuse_own(name)
        values = [value.strip() for value in text.partition("=")[2].split(",")]
        if not all(values) or len(set(values)) < len(values):
            raise UserError(f"{text}: takes values between commas, each of them once")
        if "{" in text:
            raise UserError(f"{text}: braces are for the laboratory's own tables; give numbers")
        if name in (known for known, _ in axes):
            raise UserError(f"{name}: given twice; put all of its values behind one")
        axes.append((name, values))
    points = list(itertools.product(*(values for _, values in axes)))
    if len(points) > _MOST:
        raise UserError(f"{' '.join(keys)}: {len(points)} combinations; {_MOST} at most")
    names = [name for name, _ in axes]
    rows = []
    for number, point in enumerate(points):
        told = ", ".join(f"{n.partition('.')[2]} {v}" for n, v in zip(names, point, strict=True))
        overrides = tuple(f"{n}={v}" for n, v in zip(names, point, strict=True))
        rows.append(Row(name=f"{number:02d}", what=told, overrides=overrides))
    return Table(
        title=f"A sweep over {' and '.join(names)}",
        source="All combinations of their values",
        rows=tuple(rows),
        grid=tuple((name, tuple(values)) for name, values in axes),
    )
