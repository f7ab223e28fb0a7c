"""From what DALI made to rows of the batch; what it did not make is decoded here."""

from collections.abc import Iterable

import numpy as np

from ...contract import EngineOptions
from ..rows import RowMaker, Rows
from .samples import Sample


class ViewWriter:
    """Writes samples into their rows. Used by many threads at a time."""

    def __init__(self, options: EngineOptions, *, is_cropping: bool) -> None:
        """
        Args:
            options: of the engine.
            is_cropping: DALI's images are crops, one for each view, rather than pictures.
        """
        self._is_cropping = is_cropping
        self._maker = RowMaker(options)

    def draw(self, rows: Rows, sample: Sample) -> None:
        """Draw the parameters of a sample that DALI is to crop."""
        assert sample.plain is not None
        self._maker.draw(rows, sample.row, height=sample.plain.height, width=sample.plain.width)

    def write(self, rows: Rows, samples: Iterable[Sample]) -> None:
        """Make the views of these samples, and note which of them could not be used."""
        for sample in samples:
            if sample.images is None:
                self._maker.decode_and_make(rows, sample.row, data=sample.data)
            elif self._is_cropping:  # drawn before, and applied in part
                for params, crop in zip(rows.params[:, sample.row], sample.images, strict=True):
                    _take_whole(params, len(crop))
                self._maker.write(rows, sample.row, sample.images)
            else:
                self._maker.make(rows, sample.row, *sample.images)


def _take_whole(params: np.void, size: int) -> None:
    """Let the window be the whole of a crop; colours, blur and flip stay."""
    for field in ("top", "left", "offset_top", "offset_left"):
        params[field] = 0
    for field in ("height", "width", "resized_height", "resized_width"):
        params[field] = size
