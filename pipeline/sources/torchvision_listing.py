"""What a torchvision data set holds: classes, labels and, where it keeps them, files."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from ..errors import UserError
from .torchvision_open import Kept, missing_package, short

_PROBES = 32
"""Pictures by which an attribute is held against what the set itself gives."""
_LABELS = {
    "targets": "classes",
    "_labels": "classes",
    "labels": "classes",
    "_bin_labels": "bin_classes",
    "_samples": "classes",
}
"""Attributes in which sets hold their labels, and those that name the classes of these."""
_REMEDY = "give a set whose targets are class numbers, or the folder of its pictures itself"


class Listing(NamedTuple):
    """In the set's own order."""

    classes: tuple[str, ...]
    labels: np.ndarray
    """(N,) int64; -1 without a label."""
    files: list[str] | None
    """Paths of the pictures, N; None where the set makes them of something else."""


def list_set(dataset: Any, *, told: str) -> Listing:
    """List a data set, decoding as few of its pictures as can be.

    Where its pictures are files, their paths and labels are asked for one by one, which decodes
    nothing. Else attributes are asked, and held against some of its pictures.

    Args:
        dataset: of `open_set`.
        told: field and value, the begin of messages.

    Raises:
        UserError: it is empty, its items are no pictures with class numbers, or one of them cannot
            be had.
    """
    with _tell(told):
        count = len(dataset)
    if not count:
        raise UserError(f"{told}: holds no pictures; check the arguments")
    path, _ = _item(dataset, 0, told=told)
    probes = np.unique(np.linspace(0, count - 1, _PROBES).astype(np.int64))
    files = None
    if path is None:
        files = _find_files(dataset, count, probes.tolist(), told=told)
        found = _find_labels(dataset, count, probes, told=told)
        labels, names = found or (_ask(dataset, count, told=told)[1], "classes")
    else:
        files, labels = _ask(dataset, count, told=told)
        if None in files:
            raise UserError(f"{told}: some of its pictures are files and some not; {_REMEDY}")
        names = "classes"
    return Listing(_name_classes(dataset, labels, names), labels, files)


def picture_of(item: Any) -> Image.Image | Kept | None:
    """The picture of an item, or None where it has none."""
    picture = item[0] if isinstance(item, tuple) and len(item) == 2 else None
    return picture if isinstance(picture, Image.Image | Kept) else None


@contextlib.contextmanager
def _tell(told: str) -> Iterator[None]:
    """Of whatever a set raises, its message in one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each class raises its own
        why = missing_package(error) or f"cannot be listed ({short(error)}); check root"
        raise UserError(f"{told}: {why}") from error


def _item(dataset: Any, index: int, *, told: str) -> tuple[str | None, int]:
    """The path of a picture, None where it is no file, and its label."""
    with _tell(told):
        item = dataset[index]
    picture = picture_of(item)
    if picture is None:
        raise UserError(f"{told}: its items are no pictures, each with a class; {_REMEDY}")
    label = _class_number(item[1], told=told)
    if isinstance(picture, Kept):
        return picture.path, label
    # Opened and not yet decoded: then nothing has been done to what the file holds.
    path = picture.filename if isinstance(picture, ImageFile.ImageFile) else None
    if isinstance(picture, ImageFile.ImageFile):
        picture.close()
    return str(path) if path else None, label


def _class_number(target: Any, *, told: str) -> int:
    """A target as a label; -1 where it is None."""
    if target is None:
        return -1
    if hasattr(target, "shape") and target.shape == ():
        target = target.item()
    if isinstance(target, int | np.integer) and not isinstance(target, bool) and target >= -1:
        return int(target)
    kinds: list[tuple[Any, str]] = [
        (str, "text"),
        (dict, "annotations"),
        (Image.Image, "pictures"),
        (bool, "yes or no"),
        (float, "measures"),
        (int, "negative numbers"),
        ((list, tuple), "lists"),
    ]
    kind = next((name for of, name in kinds if isinstance(target, of)), "arrays")
    raise UserError(f"{told}: its targets are {kind}, no class numbers; {_REMEDY}")


def _ask(dataset: Any, count: int, *, told: str) -> tuple[list[Any], np.ndarray]:
    """Of each picture, from the set itself: path or None, and label."""
    items = [_item(dataset, index, told=told) for index in range(count)]
    return [path for path, _ in items], np.array([label for _, label in items], np.int64)


def _find_files(dataset: Any, count: int, probes: list[int], *, told: str) -> list[str] | None:
    """Paths from an attribute, where the files' pixels are those that the set gives."""
    for name, take in _PATHS.items():
        values = getattr(dataset, name, None)
        if not isinstance(values, list) or len(values) != count:
            continue
        paths = [path for value in values if (path := take(value)) is not None]
        if len(paths) != count:
            continue
        if all(_is_same(dataset, index, paths[index], told=told) for index in probes):
            return paths
    return None


def _path(value: Any) -> str | None:
    return str(value) if isinstance(value, str) or hasattr(value, "__fspath__") else None


def _first_path(value: Any) -> str | None:
    return _path(value[0]) if isinstance(value, tuple) and len(value) == 2 else None


_PATHS: dict[str, Callable[[Any], str | None]] = {"_images": _path, "_samples": _first_path}
"""Attributes in which sets without a `loader` hold their files, and how a value is read."""


def _is_same(dataset: Any, index: int, path: str, *, told: str) -> bool:
    with _tell(told):
        given = picture_of(dataset[index])
        with Image.open(path) as image:
            assert isinstance(given, Image.Image)
            own = image.convert(given.mode)
    return own.size == given.size and own.tobytes() == given.tobytes()


def _find_labels(
    dataset: Any, count: int, probes: np.ndarray, *, told: str
) -> tuple[np.ndarray, str] | None:
    """Labels from an attribute that agrees with the set's own of some pictures, and where their
    classes are named; None where there is no such attribute."""
    own = np.array([_item(dataset, index, told=told)[1] for index in probes.tolist()])
    for name, classes in _LABELS.items():
        values: Any = getattr(dataset, name, None)
        if name == "_samples" and isinstance(values, list):
            values = [value[-1] for value in values if isinstance(value, tuple)]
        if values is None or len(values) != count:
            continue
        if isinstance(values, list):
            values = [-1 if value is None else value for value in values]
        try:
            labels = np.asarray(values)
        except ValueError:  # lists of several lengths
            continue
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            continue
        labels = labels.astype(np.int64)
        if np.array_equal(labels[probes], own) and labels.min() >= -1:
            return labels, classes
    return None


def _name_classes(dataset: Any, labels: np.ndarray, attribute: str) -> tuple[str, ...]:
    """Unique names by number; none where no picture has a label."""
    top = int(labels.max())
    if top < 0:
        return ()
    names: Any = getattr(dataset, attribute, None) or getattr(dataset, "categories", None)
    by_name: Any = getattr(dataset, "class_to_idx", None)
    if not names and isinstance(by_name, dict) and len(by_name) > top:
        names = sorted(by_name, key=lambda name: by_name[name])
    if not isinstance(names, Sequence) or isinstance(names, str) or len(names) <= top:
        return tuple(map(str, range(top + 1)))
    texts = [", ".join(map(str, n)) if isinstance(n, tuple | list) else str(n) for n in names]
    counts = Counter(texts)  # ImageNet has two cranes
    return tuple(
        f"{text} ({number})" if counts[text] > 1 else text for number, text in enumerate(texts)
    )
