"""The DALI pipeline: encoded bytes in, pictures or crops out, in order, and alive after a bad file.

On the CPU it hands over whole pictures, of which the numba kernel cuts both views: 1.9 to 2.1
core-ms an image altogether (ImageNet JPEGs, two full views at 224 px, 2 threads), against 3.9 to
4.8 where DALI's `resize` with a region makes both crops of a picture decoded once, and 4.9 to 5.1
where `image_slice` decodes for each view. On a GPU it hands over crops.

Inputs come from a plain callback. Parallel `external_source` (by index, workers started by spawn)
costs the same with one worker, 1.9 core-ms, and 2.4 with two; it takes 1.7 s to start, and cannot
follow requests that are known to this process alone. All figures: DALI 2.4.0, 2 shared cores.

DALI takes a block of memory from glibc for each picture. Of pictures of many sizes, the process
grows by some 100 MB over the first 8,000 (holes between blocks), then no more; with
MALLOC_MMAP_THRESHOLD_=131072 in the environment it does not grow at all.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from nvidia.dali import Pipeline, fn, types

from ...contract import EngineOptions
from .samples import Piece

_DEPTH = 2  # pieces under way in DALI: one is decoded while the other's views are made

# Not yet run on a GPU. The share of JPEGs for the hardware decoder: an A100's best; to be measured.
_HW_DECODER_LOAD = 0.75
# Buffers on a GPU never shrink, and grow at a cost; most pictures fit into these, px.
_SIDE_HINT = 1024

# A batch for DALI is never empty: this stands in where a piece has nothing to decode.
_PLACEHOLDER = np.frombuffer(b"P6 1 1 255\n\0\0\0", np.uint8)
_PLACEHOLDER_PLACES = (
    np.zeros(2, np.int32),
    np.ones(2, np.int32),
    np.zeros(2, np.float32),
    np.ones(2, np.float32),
)


_NUM_PLACES = 4  # arrays of `_find_places` for each view


def _find_places(params: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Where in the picture each view lies, as (y, x) in px.

    Args:
        params: (N,) records of `sampler.PARAMS`.
        size: side of the view, px.

    Returns:
        corner and extent of the window, each (N, 2) int32 (DALI's slices take no other), then start
        and end of the view in the window, each (N, 2) float32. A random crop is all of its window;
        an evaluation view is the middle of it, at a fractional place.
    """
    corner = np.stack([params["top"], params["left"]], 1)
    extent = np.stack([params["height"], params["width"]], 1)
    scale = extent / np.stack([params["resized_height"], params["resized_width"]], 1)
    start = scale * np.stack([params["offset_top"], params["offset_left"]], 1)
    end = start + size * scale
    return corner, extent, start.astype(np.float32), end.astype(np.float32)


class DaliPipeline:
    """Decodes pieces ahead of need. Used by one thread.

    DALI's pipeline is rebuilt (20 ms) after a failure: it then names no culprit, and is of no more
    use.
    """

    def __init__(
        self, options: EngineOptions, *, max_samples: int, num_threads: int, is_cropping: bool
    ) -> None:
        """
        Args:
            options: of the engine.
            max_samples: most samples of a piece.
            num_threads: DALI's own.
            is_cropping: hand over a uint8 crop for each view instead of the picture.
        """
        self._options = options
        self._max_samples = max_samples
        self._num_threads = num_threads
        self._num_crops = len(options.specs) if is_cropping else 0
        self._waiting: deque[Piece] = deque()
        self._under_way: deque[Piece] = deque()
        self._pipeline: Any = None

    def decode(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The same pieces, in order, with images in their samples.

        A piece at which DALI failed comes without images, with the error; those behind it are fed
        again. The images of a piece live until the next one is asked for.
        """
        while self._take(pieces):
            if self._pipeline is None:
                self._pipeline = self._build()
            try:
                self._pipeline.schedule_run()  # calls `_feed`; the first time for all that wait
                outputs = self._pipeline.share_outputs()
            except Exception as error:  # of DALI's C++, which raises several types
                self._under_way.extend(self._waiting)
                self._waiting, self._under_way = self._under_way, deque()
                self._pipeline = None
                piece = self._waiting.popleft()
                piece.error = error.with_traceback(None)  # whose frames hold the pipeline
                yield piece
                continue
            piece = self._under_way.popleft()
            _hand_over(outputs, piece)
            yield piece
            for sample in piece.encoded:
                sample.images = None
            self._pipeline.release_outputs()

    def close(self) -> None:
        """Free DALI's threads and buffers."""
        self._waiting.clear()
        self._under_way.clear()
        self._pipeline = None

    def _take(self, pieces: Iterator[Piece]) -> bool:
        """Have as many pieces at hand as DALI may be given; False at the end of all."""
        while len(self._waiting) + len(self._under_way) < _DEPTH:
            piece = next(pieces, None)
            if piece is None:
                break
            self._waiting.append(piece)
        return bool(self._waiting or self._under_way)

    def _feed(self) -> tuple[list[np.ndarray], ...]:
        """DALI's callback: bytes and, for crops, the places of each view."""
        if not self._waiting:
            raise StopIteration
        piece = self._waiting.popleft()
        self._under_way.append(piece)
        encoded = [
            np.frombuffer(sample.plain.data, np.uint8)
            for sample in piece.encoded
            if sample.plain is not None
        ]
        if not piece.encoded:
            return [_PLACEHOLDER], *([place] for place in _PLACEHOLDER_PLACES * self._num_crops)
        rows = [sample.row for sample in piece.encoded]
        places = [
            list(place)
            for view in range(self._num_crops)
            for place in _find_places(piece.rows.params[view, rows], self._options.specs[view].size)
        ]
        return encoded, *places

    def _build(self) -> Any:
        device = self._options.device
        pipeline = Pipeline(
            batch_size=self._max_samples,
            num_threads=self._num_threads,
            device_id=(device.index or 0) if self._decodes_on_gpu else None,
            prefetch_queue_depth=_DEPTH,
        )
        place_types = [
            types.DALIDataType.INT32,
            types.DALIDataType.INT32,
            types.DALIDataType.FLOAT,
            types.DALIDataType.FLOAT,
        ]
        dtypes = [types.DALIDataType.UINT8, *(place_types * self._num_crops)]
        with pipeline:
            encoded, *places = fn.external_source(
                source=self._feed, num_outputs=len(dtypes), batch=True, dtype=dtypes, ndim=1
            )
            pipeline.set_outputs(*self._outputs(encoded, places))
        pipeline.build()
        return pipeline

    @property
    def _decodes_on_gpu(self) -> bool:
        return self._num_crops > 0 and self._options.device.type == "cuda"

    def _outputs(self, encoded: Any, places: list[Any]) -> list[Any]:
        """The graph behind the inputs: the picture, or a crop for each view."""
        mixed = {
            "hw_decoder_load": _HW_DECODER_LOAD,
            "preallocate_width_hint": _SIDE_HINT,
            "preallocate_height_hint": _SIDE_HINT,
        }
        picture = fn.decoders.image(
            encoded,
            device="mixed" if self._decodes_on_gpu else "cpu",
            output_type=types.DALIImageType.RGB,
            adjust_orientation=False,  # windows are of the picture as stored
            use_fast_idct=False,
            jpeg_fancy_upsampling=True,
            **(mixed if self._decodes_on_gpu else {}),
        )
        if not self._num_crops:
            return [picture]
        return [
            self._crop(picture, spec.size, *places[_NUM_PLACES * view :][:_NUM_PLACES])
            for view, spec in enumerate(self._options.specs)
        ]

    @staticmethod
    def _crop(picture: Any, size: int, corner: Any, extent: Any, start: Any, end: Any) -> Any:
        """A view's crop, (size, size, 3) uint8."""
        # `resize` alone could cut the window as well, but reads beyond its edges for the filter.
        window = fn.slice(picture, start=corner, shape=extent, axes=(0, 1))
        return fn.resize(
            window,
            size=(size, size),
            roi_start=start,
            roi_end=end,
            interp_type=types.DALIInterpType.INTERP_TRIANGULAR,
            antialias=True,
        )


def _hand_over(outputs: tuple[Any, ...], piece: Piece) -> None:
    """Point the samples at DALI's memory, or at a copy of it where that is on a GPU."""
    lists = [output.as_cpu() for output in outputs]
    piece.owners = lists
    for number, sample in enumerate(piece.encoded):
        sample.images = [np.asarray(each[number]) for each in lists]
