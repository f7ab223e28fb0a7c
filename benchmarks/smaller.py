"""What `convert --max-side 256` would do to decoding, tried on a few of the pictures."""

import time

import numpy as np

from ..pipeline.convert.contract import Options
from ..pipeline.convert.remake import encode, shrink
from ..pipeline.decode import decode_rgb
from ..pipeline.errors import BadSampleError
from ..pipeline.sources import Source
from ..pipeline.sources.manifest import JPEG

_TRIED = 24
_REPEATS = 3
_SIDE = 256
"""px of the longer side."""
_LARGE = 1.25  # pictures beyond are worth it


def measure_smaller(source: Source) -> float | None:
    """Decoding takes so many times as long after the conversion; None: pictures are small already,
    or none can be read.
    """
    files, sides = [], []
    for index in np.linspace(0, len(source) - 1, min(_TRIED, len(source))).astype(int).tolist():
        try:
            data = source.read(index)
            pixels = decode_rgb(data)
        except BadSampleError:
            continue
        sides.append(max(pixels.shape[:2]))
        files.append((data, encode(shrink(pixels, _SIDE), JPEG, quality=Options.quality)))
    if not files or np.median(sides) < _LARGE * _SIDE:
        return None
    before, after = (_time([pair[kind] for pair in files]) for kind in (0, 1))
    return min(after / before, 1.0)


def _time(files: list[bytes]) -> float:
    """Core seconds of decoding them all, the least of some."""
    taken = []
    for _ in range(_REPEATS):
        begun = time.thread_time()
        for data in files:
            decode_rgb(data)
        taken.append(time.thread_time() - begun)
    return min(taken)
