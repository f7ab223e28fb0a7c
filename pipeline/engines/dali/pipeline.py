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
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from nvidia.dali import Pipeline, fn, types

from ...contract import EngineOptions
from .places import NUM_PLACES, PLACEHOLDER, find_places_of_piece
from .samples import Piece

if TYPE_CHECKING:
    import torch


class Receiver(Protocol):
    """Takes over DALI's outputs; see `engine.Writer`."""

    stream: "torch.cuda.Stream | None"

    def receive(self, outputs: tuple[Any, ...], piece: Piece) -> None: ...


class DaliPipeline:
    """Decodes pieces ahead of need. Used by one thread.

    DALI's pipeline is rebuilt (20 ms) after a failure: it then names no culprit, and is of no more
    use.
    """

    def __init__(
        self,
        options: EngineOptions,
        receiver: Receiver,
        *,
        max_samples: int,
    ) -> None:
        """
        Args:
            options: of the engine, which wants pictures, or a uint8 crop for each view.
            receiver: of DALI's outputs: the pictures of a piece's encoded samples, or crops of all
                of its samples.
            max_samples: most samples of a piece.
        """
        self._options = options
        self._receiver = receiver
        self._max_samples = max_samples
        self._num_threads = options.decoder.num_threads or max(options.num_workers, 1)
        self._sizes = tuple(spec.size for spec in options.specs)
        self._is_cropping = options.delivers == "crops"
        self._waiting: deque[Piece] = deque()
        self._under_way: deque[Piece] = deque()
        self._pipeline: Any = None

    def decode(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The same pieces, in order, each received.

        A piece at which DALI failed comes as it is, with the error; those behind it are fed again.
        """
        while self._take(pieces):
            if self._pipeline is None:
                self._pipeline = self._build()
            try:
                self._pipeline.schedule_run()  # calls `_feed`; the first time for all that wait
                # On a GPU `stream` waits for DALI, and this thread does not.
                outputs = self._pipeline.share_outputs(cuda_stream=self._receiver.stream)
            except Exception as error:  # of DALI's C++, which raises several types
                self._under_way.extend(self._waiting)
                self._waiting, self._under_way = self._under_way, deque()
                self._pipeline = None
                piece = self._waiting.popleft()
                piece.error = error.with_traceback(None)  # whose frames hold the pipeline
                yield piece
                continue
            piece = self._under_way.popleft()
            self._receiver.receive(outputs, piece)
            yield piece
            self._pipeline.release_outputs()

    def close(self) -> None:
        """Free DALI's threads and buffers."""
        self._waiting.clear()
        self._under_way.clear()
        self._pipeline = None

    def _take(self, pieces: Iterator[Piece]) -> bool:
        """Have as many pieces at hand as DALI may be given; False at the end of all."""
        while len(self._waiting) + len(self._under_way) < self._options.decoder.queue:
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
        # Crops stay in their rows: whatever DALI is not to decode, it is given a placeholder for.
        fed = piece.samples if self._is_cropping else piece.encoded
        encoded = [
            np.frombuffer(sample.plain.data, np.uint8) if sample.plain else PLACEHOLDER
            for sample in fed
        ]
        places = find_places_of_piece(piece, self._sizes) if self._is_cropping else ()
        return encoded or [PLACEHOLDER], *places

    def _build(self) -> Any:
        device = self._options.device
        pipeline = Pipeline(
            batch_size=self._max_samples,
            num_threads=self._num_threads,
            device_id=device.index if self._decodes_on_gpu else None,
            prefetch_queue_depth=self._options.decoder.queue,
        )
        place_types = [
            types.DALIDataType.INT32,
            types.DALIDataType.INT32,
            types.DALIDataType.FLOAT,
            types.DALIDataType.FLOAT,
        ]
        dtypes = [types.DALIDataType.UINT8]
        if self._is_cropping:
            dtypes += place_types * len(self._sizes)
        with pipeline:
            encoded, *places = fn.external_source(
                source=self._feed, num_outputs=len(dtypes), batch=True, dtype=dtypes, ndim=1
            )
            pipeline.set_outputs(*self._outputs(encoded, places))
        pipeline.build()
        return pipeline

    @property
    def _decodes_on_gpu(self) -> bool:
        return self._is_cropping and self._options.device.type == "cuda"

    def _outputs(self, encoded: Any, places: list[Any]) -> list[Any]:
        """The graph behind the inputs: the picture, or a crop for each view."""
        mixed = {
            "hw_decoder_load": self._options.decoder.hw_load,
            "preallocate_width_hint": self._options.decoder.side,
            "preallocate_height_hint": self._options.decoder.side,
            "affine": False,  # or its threads leave the cores that this process may use
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
        if not self._is_cropping:
            return [picture]
        return [
            self._crop(picture, size, *places[NUM_PLACES * view :][:NUM_PLACES])
            for view, size in enumerate(self._sizes)
        ]

    @staticmethod
    def _crop(picture: Any, size: int, corner: Any, extent: Any, start: Any, end: Any) -> Any:
        """A view's crop, (size, size, 3) uint8.

        Where the filter reaches beyond the window, DALI repeats the window's edge, and Pillow
        leaves it out: of photographs of 500 px, views of 224 px differ by 0.001 of 255 more on
        average than by rounding, those of 16 px by 0.4.
        """
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
