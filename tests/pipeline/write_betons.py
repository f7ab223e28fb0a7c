"""Write betons with FFCV's own writer: `write_betons.py PICTURES.npz FOLDER`.

Run by the tests in a process of its own: importing FFCV sets torch's threads, its writer forks.
Picture i has the label i % 3; `shuffled` holds the listing in another order.
"""

import os
import sys
from pathlib import Path

import numpy as np
from ffcv.fields import BytesField, FloatField, IntField, RGBImageField
from ffcv.writer import DatasetWriter

PAGE_SIZE = 2**21  # the least that FFCV allows


class Samples:
    """The pictures, each with the values of some fields."""

    def __init__(self, pictures: list[np.ndarray], names: list[str], order: np.ndarray) -> None:
        self._pictures, self._names, self._order = pictures, names, order

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, record: int) -> tuple[object, ...]:
        index = int(self._order[record])
        values = {
            "image": self._pictures[index],
            "label": index % 3,
            "index": index,
            "weight": index / 2,
            # The first is empty: its place in the file is the picture's behind it.
            "note": np.full(index, 7, np.uint8),
        }
        return tuple(values[name] for name in self._names)


def main(pictures_path: str, folder: str) -> None:
    archive = np.load(pictures_path)
    pictures = [archive[name] for name in archive.files]
    in_order = np.arange(len(pictures))
    shuffled = np.random.default_rng(0).permutation(in_order)
    np.random.seed(0)  # noqa: NPY002  FFCV's `proportion` draws from it
    for name, mode, order, names in (
        ("jpg", "jpg", in_order, ["image", "label"]),
        ("raw", "raw", in_order, ["image", "label"]),
        ("shuffled", "raw", shuffled, ["label", "note", "weight", "index", "image"]),
        ("mixed", "proportion", shuffled, ["index", "image", "label"]),
    ):
        types = {
            "image": RGBImageField(write_mode=mode),
            "label": IntField(),
            "index": IntField(),
            "weight": FloatField(),
            "note": BytesField(),
        }
        writer = DatasetWriter(
            str(Path(folder) / f"{name}.beton"),
            {field: types[field] for field in names},
            page_size=PAGE_SIZE,
            num_workers=1,
        )
        writer.from_indexed_dataset(Samples(pictures, names, order))


if __name__ == "__main__":
    main(*sys.argv[1:])
    # FFCV's writer has used numba's pool of threads, which on one core waits for ever at the end.
    os._exit(0)
