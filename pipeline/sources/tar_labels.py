"""The labels file beside an archive: a line of text for each picture."""

import os
from pathlib import Path

import numpy as np

from ..errors import UserError
from .paths import shown

_SUFFIX = ".labels"
_MAX_CLASSES = 1_000_000


def find_labels(archive: Path, *, told: str) -> Path | None:
    """The labels file of an archive, where there is one: its whole name with `.labels` behind it.

    Args:
        archive: its path.
        told: how messages begin.

    Raises:
        UserError: there is something of this name, but no file.
    """
    path = archive.with_name(archive.name + _SUFFIX)
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        raise UserError(
            f"{told}: {shown(path.name)} beside it is no file, and its labels would be in it; move "
            "it away"
        )
    return path


def read_labels(path: Path, keys: list[str], *, told: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes and labels from a labels file.

    Each line is a class, for the pictures in the order of their names; or a picture's name, white
    space and a class, in any order of lines. If all classes are whole numbers, they are the labels
    and count from 0; else they are names, and labels are positions among the sorted names.

    Args:
        path: of the file.
        keys: of all pictures, sorted.
        told: how messages begin.

    Returns:
        Class names, and (N,) int64 labels.

    Raises:
        UserError: the file cannot be read, or its lines are not one for each picture.
    """
    told = f"{told}: its labels in {shown(path.name)}"
    try:
        text = os.fsdecode(path.read_bytes())
    except OSError as error:
        raise UserError(f"{told} cannot be read ({error.strerror}); mend or remove it") from error
    lines = [line.rsplit(None, 1) for line in text.removeprefix("\ufeff").rstrip().split("\n")]
    if len(lines) != len(keys):
        raise UserError(
            f"{told} are {len(lines):,} lines, and it holds {len(keys):,} pictures; write one line "
            "for each: the class, or the picture's name and the class"
        )
    widths = {len(words) for words in lines}
    if widths == {1}:
        texts = [words[0] for words in lines]
    elif widths == {2}:
        by_name = {name.strip(): text for name, text in lines}
        missing = [key for key in keys if key not in by_name]
        if missing:
            raise UserError(
                f"{told} have no line for {len(missing):,} pictures, {shown(missing[0])} among "
                "them; write the names as they stand in the archive"
            )
        texts = [by_name[key] for key in keys]
    else:
        wrong = next((at for at, words in enumerate(lines) if len(words) != len(lines[0])), 0)
        raise UserError(
            f"{told} are not all of one form: see line {wrong + 1}; write in each the class, or in "
            "each the picture's name and the class"
        )
    return _number(texts, told=told)


def _number(texts: list[str], *, told: str) -> tuple[tuple[str, ...], np.ndarray]:
    names = sorted(set(texts))
    if not all(name.isascii() and name.isdigit() for name in names):
        positions = {name: number for number, name in enumerate(names)}
        return tuple(names), np.array([positions[text] for text in texts], np.int64)
    highest = max((name.lstrip("0") for name in names), key=lambda name: (len(name), name))
    if len(highest) > 7 or int(highest or "0") >= _MAX_CLASSES:
        raise UserError(
            f"{told} go up to class {highest:.40}; number classes from 0 to {_MAX_CLASSES - 1:,}"
        )
    labels = np.array([int(text.lstrip("0") or "0") for text in texts], np.int64)
    return tuple(map(str, range(int(highest or "0") + 1))), labels
