"""`swiftsiam demo-data`: labelled JPEGs for trying things out where no data are at hand.

A killed generation is noticed and carried on: pictures lie in a hidden folder until the last one is
there, and each appears there whole or not at all.
"""

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..arguments import Parser, user_path, whole
from ..errors import UserError
from ..files import HeldElsewhereError, Lock, absolute
from ..machine import num_cores
from ..pool import run_tasks
from .motifs import CLASSES, draw_picture

DEFAULT_NUM_IMAGES = 4000
JPEG_QUALITY = 90
VERSION = 1
"""To be raised with every change of the pictures: sets of two versions must not be mixed."""

_RECIPE = "demo.json"
_WORK = ".swiftsiam-demo"
_BLOCK = len(CLASSES)
_VAL_EVERY = 4
_MIN_IMAGES = _VAL_EVERY * _BLOCK
_CHUNK = 20


@dataclass(frozen=True, kw_only=True)
class DemoImages:
    """A generated set on disk."""

    train: Path
    """Folder of class folders: three of four pictures."""
    val: Path
    """The fourth."""
    num_train: int
    num_val: int
    num_drawn: int
    """Pictures that this call drew; 0 where the set was there already."""


def generate(directory: Path, *, num_images: int, seed: int = 0, num_workers: int) -> DemoImages:
    """Write `train/CLASS/INDEX.jpg` and `val/CLASS/INDEX.jpg`, or what of them is missing.

    Args:
        directory: new, empty, or begun by a call with the same numbers.
        num_images: of both parts together; classes are equally many to within one.
        seed: 0 or more; with the index it decides every pixel.
        num_workers: processes; with 1 the pictures are drawn in this one.

    Raises:
        UserError: a number is out of range, the folder holds something else, cannot be written, or
            is being written by another process.
    """
    if num_images < _MIN_IMAGES:
        raise UserError(
            f"--images={num_images}: give {_MIN_IMAGES} or more, one of each class in both parts"
        )
    if seed < 0:
        raise UserError(f"--seed={seed}: give 0 or more")
    directory = absolute(directory)
    recipe = {"version": VERSION, "num_images": num_images, "seed": seed}
    try:
        with _locked(directory):
            _claim(directory, recipe)
            missing = [i for i in range(num_images) if not _path(directory, i).exists()]
            _draw_all(directory, missing, seed=seed, num_workers=num_workers)
            _publish(directory)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"DIR={directory}: cannot be written ({reason}); give another folder"
        ) from error
    num_val = sum(_split(index) == "val" for index in range(num_images))
    return DemoImages(
        train=directory / "train",
        val=directory / "val",
        num_train=num_images - num_val,
        num_val=num_val,
        num_drawn=len(missing),
    )


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """The folder, made where it is missing, for one process at a time; death gives it back."""
    if directory.exists() and not directory.is_dir():
        raise UserError(f"DIR={directory}: is a file; give a new or an empty folder")
    directory.mkdir(parents=True, exist_ok=True)
    try:
        lock = Lock(directory)
    except HeldElsewhereError:
        raise UserError(
            f"DIR={directory}: another process is writing it; wait, or give another folder"
        ) from None
    with lock:
        yield


def _claim(directory: Path, recipe: dict[str, int]) -> None:
    """Mark the folder as ours, or make sure that it is, and of the same recipe."""
    found = directory / _RECIPE
    if found.exists():
        held = _read_recipe(found)
        if held != recipe:
            raise UserError(
                f"DIR={directory}: holds a demo set of {held}, not of {recipe}; "
                "ask for the same, or give another folder"
            )
        return
    others = sorted({entry.name for entry in directory.iterdir()} - {_WORK})
    if others:
        raise UserError(
            f"DIR={directory}: holds other files ({others[0]!r}); give a new or an empty folder"
        )
    (directory / _WORK).mkdir(exist_ok=True)
    _write(directory, found, json.dumps(recipe).encode())


def _read_recipe(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return "an unknown make"


def _split(index: int) -> str:
    """Blocks of one picture of each class go to a part together, so that both are balanced."""
    return "val" if index // _BLOCK % _VAL_EVERY == _VAL_EVERY - 1 else "train"


def _path(directory: Path, index: int) -> Path:
    """Where picture `index` lies or will lie: in the hidden folder until its part is complete."""
    split = _split(index)
    root = directory if (directory / split).exists() else directory / _WORK
    return root / split / CLASSES[index % _BLOCK] / f"{index:06d}.jpg"


def _draw_all(directory: Path, indices: list[int], *, seed: int, num_workers: int) -> None:
    if not indices:
        return
    (directory / _WORK).mkdir(exist_ok=True)
    for folder in {_path(directory, index).parent for index in indices}:
        folder.mkdir(parents=True, exist_ok=True)
    chunks = [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
    draw = partial(_draw_chunk, directory, seed)
    for _ in run_tasks(draw, chunks, num_workers=min(num_workers, len(chunks))):
        pass


def _draw_chunk(directory: Path, seed: int, indices: list[int]) -> None:
    for index in indices:
        jpeg = io.BytesIO()
        draw_picture(seed, index).save(jpeg, "JPEG", quality=JPEG_QUALITY)
        _write(directory, _path(directory, index), jpeg.getvalue())


def _write(directory: Path, path: Path, content: bytes) -> None:
    """The whole file or none; named by process, since a killed run's workers may still write."""
    part = directory / _WORK / f"{path.name}.{os.getpid()}"
    part.write_bytes(content)
    part.replace(path)


def _publish(directory: Path) -> None:
    """Bring the finished parts out of the hidden folder; after a kill the next call goes on."""
    work = directory / _WORK
    for split in ("val", "train"):
        if not (directory / split).exists():
            (work / split).rename(directory / split)
    if work.exists():
        shutil.rmtree(work)


def main(argv: list[str]) -> int:
    """`swiftsiam demo-data DIR [--images N] [--seed S]`."""
    parser = Parser(
        prog="swiftsiam demo-data",
        description="Draw a labelled set of JPEGs: ten patterns in random colours, sizes and "
        "places. Three of four pictures go to DIR/train, the others to DIR/val.",
    )
    parser.add_argument("directory", metavar="DIR", type=user_path, help="a new or an empty folder")
    parser.add_argument(
        "--images",
        metavar="N",
        type=whole(_MIN_IMAGES, 1_000_000),
        default=DEFAULT_NUM_IMAGES,
        help="pictures in all (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="S",
        type=whole(0, 2**63 - 1),
        default=0,
        help="another one gives other pictures",
    )
    options = parser.parse_args(argv)
    start = time.perf_counter()
    images = generate(
        options.directory,
        num_images=options.images,
        seed=options.seed,
        num_workers=num_cores(),
    )
    print(
        f"{images.train}: {images.num_train} pictures; {images.val}: {images.num_val}; "
        f"{len(CLASSES)} classes; {images.num_drawn} drawn in {time.perf_counter() - start:.1f} s"
    )
    return 0
