"""The engine for sets that fit on the GPU: decoded once, cropped and resized there ever after.

All pictures lie on the device as uint8, one after another, so that an epoch costs the CPU no more
than its parameters: no reading, no decoding, no copies. Order, parameters, bad samples and
replacements are those of every other engine; its crops are the CPU kernel's, to within rounding.

It works in the trainer's thread and on its current stream, which is the delivery's. On a CPU the
same code runs with the crop kernel's torch form.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ..augment.gpu import make_crops, pack_windows
from ..augment.sampler import PARAMS, draw_views, pack_spec
from ..contract import BadSample, EngineOptions, Request, Result
from ..decode import decode_rgb
from ..errors import BadSampleError
from ..sources import Source
from .rows import candidates

_CHUNK_BYTES = 2**27  # decoded pictures that go to the device together


def build(options: EngineOptions) -> "ResidentEngine":
    """The engine for these options; the pictures are decoded here, once for all its successors."""
    assert options.delivers == "crops"
    if "pictures" not in options.kept:
        # Not inference tensors, whoever asks first: no step could train on what is made of them.
        with torch.inference_mode(False):
            options.kept["pictures"] = Pictures(
                options.source, options.device, num_threads=max(options.num_workers, 1)
            )
    return ResidentEngine(options, options.kept["pictures"])


class Pictures:
    """All pictures of a source, decoded, on a device."""

    def __init__(self, source: Source, device: torch.device, *, num_threads: int) -> None:
        """
        Args:
            source: read and decoded here, whole.
            device: for the pixels.
            num_threads: that decode.
        """
        count = len(source)
        self.starts, self.heights, self.widths = np.zeros((3, count), np.int64)
        """Of each picture its first byte in `pixels`, and its size in px."""
        self.bad: dict[int, BadSample] = {}
        """Those that cannot be decoded."""
        chunks: list[torch.Tensor] = []
        waiting: list[np.ndarray] = []
        total = num_waiting = 0
        for index, decoded in enumerate(_decode_all(source, num_threads)):
            if isinstance(decoded, str):
                self.bad[index] = BadSample(index, source.key(index), decoded)
                continue
            self.starts[index] = total
            self.heights[index], self.widths[index] = decoded.shape[:2]
            total += decoded.size
            num_waiting += decoded.size
            waiting.append(decoded.reshape(-1))
            if num_waiting >= _CHUNK_BYTES:
                chunks.append(torch.from_numpy(np.concatenate(waiting)).to(device))
                waiting, num_waiting = [], 0
        if waiting:
            chunks.append(torch.from_numpy(np.concatenate(waiting)).to(device))
        empty = torch.empty(0, dtype=torch.uint8, device=device)
        self.pixels = torch.cat(chunks) if chunks else empty
        """(total,) uint8 on the device: pictures one after another, each as rows of RGB."""
        if device.type == "cuda":
            # Batches are made on the delivery's stream, which does not wait for this one by itself.
            torch.cuda.synchronize(device)


def _decode_all(source: Source, num_threads: int) -> Iterator[np.ndarray | str]:
    """Each picture, (H, W, 3) uint8, or why there is none; decoded a little ahead, in threads."""

    def decode(index: int) -> np.ndarray | str:
        try:
            return decode_rgb(source.read(index))
        except BadSampleError as error:
            return str(error)

    at_a_time = 64 * num_threads
    with ThreadPoolExecutor(num_threads) as pool:
        for first in range(0, len(source), at_a_time):
            yield from pool.map(decode, range(first, min(first + at_a_time, len(source))))


class ResidentEngine:
    """See the module; the contract is `contract.Engine`."""

    def __init__(self, options: EngineOptions, pictures: Pictures) -> None:
        self._options = options
        self._pictures = pictures
        self._specs = [pack_spec(spec) for spec in options.specs]

    def stream(self, requests: Iterator[Request]) -> Iterator[Result]:
        return map(self._make, requests)

    def whereabouts(self) -> list[tuple[str, int]]:
        return []

    def close(self) -> None:
        """There is nothing to stop; the pictures stay, for the next engine of these options."""

    def _make(self, request: Request) -> Result:
        index, bad = self._choose(request.indices)
        params = self._draw(np.maximum(index, 0), request.epoch)
        crops = tuple(self._crop(views, params, index) for views in self._options.blocks)
        return Result(crops, index, bad, params)

    def _choose(self, asked: np.ndarray) -> tuple[np.ndarray, list[BadSample]]:
        """The samples of a batch, bad ones replaced, or -1 where they are left out."""
        index, bad = asked.astype(np.int64), []
        pictures, options = self._pictures, self._options
        if pictures.bad:
            for row in np.flatnonzero(np.isin(index, list(pictures.bad))):
                wanted, index[row] = int(index[row]), -1
                for tried in candidates(wanted, options.source, options.max_bad_samples):
                    if tried not in pictures.bad:
                        index[row] = tried
                        break
                    bad.append(pictures.bad[tried])
        return index, bad

    def _draw(self, index: np.ndarray, epoch: int) -> np.ndarray:
        """(views, B) records of `PARAMS`."""
        params = np.zeros((len(self._specs), len(index)), PARAMS)
        sides = {"heights": self._pictures.heights[index], "widths": self._pictures.widths[index]}
        for view, spec in enumerate(self._specs):
            params[view] = draw_views(
                spec, seed=self._options.seed, epoch=epoch, indices=index, view=view, **sides
            )
        return params

    def _crop(self, views: tuple[int, ...], params: np.ndarray, index: np.ndarray) -> torch.Tensor:
        """The crops of one block, (views * B, size, size, 3)."""
        pictures, size = self._pictures, self._options.specs[views[0]].size
        present = np.flatnonzero(index >= 0)
        chosen = index[present]
        windows = pack_windows(
            params[list(views)][:, present].reshape(-1),
            starts=np.tile(pictures.starts[chosen], len(views)),
            widths=np.tile(pictures.widths[chosen], len(views)),
        )
        crops = make_crops(pictures.pixels, windows, size=size)
        if len(present) == len(index):
            return crops
        whole = crops.new_zeros((len(views), len(index), size, size, 3))
        whole[:, torch.from_numpy(present)] = crops.view(len(views), len(present), size, size, 3)
        return whole.view(-1, size, size, 3)
