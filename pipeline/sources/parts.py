"""A data set's parts, as people call them, where one was given that holds several."""

from collections.abc import Mapping
from pathlib import Path

from .paths import shown

TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "dev", "test", "testing")
"""Of several the first that is there is offered."""
_BESIDE = {"data.path": "data.val_path", "--data": "--val"}
"""What names the labelled pictures beside what names those to train on."""


def find_parts(names: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Those to train on and those held out, as they are written.

    Args:
        names: in lower case, and as they are written.
    """
    train = next((names[name] for name in TRAIN if name in names), None)
    held_out = next((names[name] for name in HELD_OUT if name in names), None)
    return train, held_out


def offer_parts(root: Path, names: Mapping[str, str], *, field: str) -> str:
    """What to give instead of all of them, such as "data.path=…/train data.val_path=…/val".

    Args:
        root: that holds the parts.
        names: of them, in lower case, and as they are written.
        field: that was given all of them.
    """
    train, held_out = find_parts(names)
    first, second = (held_out, train) if field == "data.val_path" else (train, held_out)
    offer = f"{field}={shown(root / (first or second or ''))}"
    if field in _BESIDE and train and held_out:
        offer += f" {_BESIDE[field]}={shown(root / held_out)}"
    return offer
