"""From what DALI made to rows of the batch; what it did not make is decoded here."""

from collections.abc import Iterable

import numpy as np

from ..augment.draw import build_view_maker
from ..augment.sampler import draw_view, pack_spec
from ..contract import EngineOptions
from .dali_samples import Batch, Sample, decode_next


class ViewWriter:
    """Writes samples into their batch. Used by many threads at a time."""

    def __init__(self, options: EngineOptions, *, is_cropping: bool) -> None:
        """
        Args:
            options: of the engine.
            is_cropping: DALI's images are crops, one for each view, rather than pictures.
        """
        self._options = options
        self._is_cropping = is_cropping
        self._packed = [pack_spec(spec) for spec in options.specs]
        self._makers = [build_view_maker(spec, ops=options.ops) for spec in options.specs]

    def draw(self, batch: Batch, row: int, shape: tuple[int, ...]) -> None:
        """Draw the parameters of a row, whose picture is `shape[0]` × `shape[1]` px."""
        for view, packed in enumerate(self._packed):
            draw_view(
                packed[0],
                np.uint64(self._options.seed),
                np.uint64(batch.request.epoch),
                batch.index[row],
                np.uint64(view),
                shape[0],
                shape[1],
                batch.params[view, row],
            )

    def write(self, batch: Batch, samples: Iterable[Sample]) -> None:
        """Make the views of these samples, and note which of them could not be used."""
        for sample in samples:
            row = sample.row
            if sample.images is not None:
                images = sample.images
                if self._is_cropping:  # drawn before, and applied in part
                    for view, spec in enumerate(self._options.specs):
                        _take_whole(batch.params[view, row], spec.size)
                else:
                    images = images * len(self._makers)
                    self.draw(batch, row, images[0].shape)
            else:
                batch.index[row], image = decode_next(self._options, sample, batch.bad[row])
                if image is None:
                    for pixels in batch.pixels:
                        pixels[row] = 0
                    continue
                images = [image] * len(self._makers)
                self.draw(batch, row, image.shape)
            for view, make in enumerate(self._makers):
                make(images[view], batch.params[view], row, batch.pixels[view])


def _take_whole(params: np.void, size: int) -> None:
    """Let the window be the whole of a crop; colours, blur and flip stay."""
    for field in ("top", "left", "offset_top", "offset_left"):
        params[field] = 0
    for field in ("height", "width", "resized_height", "resized_width"):
        params[field] = size
