"""Pictures to load where none are given: the size and the weight of ImageNet's, class folders."""

import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ...pipeline.machine import num_cores
from .context import Context

_SIZES = ((375, 500), (500, 375), (333, 500), (400, 400))
"""Heights and widths, px."""
_NOISE = 9.0  # standard deviation: some 110 kB as a JPEG of quality 90
_NUM_CLASSES = 10


def make_jpeg(seed: int, *, quality: int = 90, subsampling: str = "4:2:0", gray: bool = False):
    """(file as bytes): smooth shapes under noise."""
    random = np.random.default_rng(seed)
    height, width = _SIZES[seed % len(_SIZES)]
    coarse = random.integers(30, 226, (7, 9, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth) + random.normal(0, _NOISE, (height, width, 1))
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    if gray:
        picture.convert("L").save(buffer, "JPEG", quality=quality)
    else:
        picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def find_pictures(context: Context) -> str:
    """The data set that is given, or a generated one, made once for all parts."""
    if context.data is not None:
        return str(context.data)
    folder = context.folder / f"pictures-{context.sizes.num_pictures}"
    done = folder / "done"
    if not done.exists():
        make = partial(_write, folder)
        with ThreadPoolExecutor(num_cores()) as pool:
            list(pool.map(make, range(context.sizes.num_pictures)))
        done.touch()
    return str(folder / "classes")


def _write(folder: Path, number: int) -> None:
    place = folder / "classes" / f"class-{number % _NUM_CLASSES}"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{number:06}.jpg").write_bytes(make_jpeg(number))
