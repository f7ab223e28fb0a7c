"""A batch in the making, and what fills its rows: shared by all engines.

An engine says only how it reads and decodes. What becomes of a picture, and whose turn it is when
one cannot be decoded, is written here and nowhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from ..augment.cpu import as_pixels
from ..augment.draw import build_view_maker
from ..augment.sampler import PARAMS, draw_view, pack_spec
from ..contract import BadSample, EngineOptions, Request, Result
from ..decode import decode_rgb
from ..errors import BadSampleError
from ..sources import Source
from ..stages import DECODE, READ, REST, StageClock

Allocate = Callable[[int, int, torch.dtype], torch.Tensor]
"""(count, size, dtype) → (count, 3, size, size), channels-last, with whatever values."""


def allocate(count: int, size: int, dtype: torch.dtype, *, is_pinned: bool = False) -> torch.Tensor:
    """Fresh memory for views or crops, see `Allocate`."""
    shape = (count, size, size, 3)
    return torch.empty(shape, dtype=dtype, pin_memory=is_pinned).permute(0, 3, 1, 2)


class Rows:
    """One request, and what has become of it. Threads may fill different rows at a time."""

    def __init__(
        self, request: Request, options: EngineOptions, *, allocate: Allocate = allocate
    ) -> None:
        """
        Args:
            request: to be filled.
            options: of the engine.
            allocate: where views or crops lie.
        """
        count = len(request.indices)
        self.epoch = request.epoch
        self.index = request.indices.copy()
        """(B,) int64: of the sample in each row, which may have taken a bad one's place."""
        self.params = np.zeros((len(options.specs), count), PARAMS)
        """(views, B) records of `PARAMS`."""
        self._are_crops = options.delivers == "crops"
        self._blocks = tuple(
            allocate(len(views) * count, options.specs[views[0]].size, options.pixel_dtype)
            for views in options.blocks
        )
        self._numbers = options.blocks
        self.bad: list[list[BadSample]] = [[] for _ in range(count)]
        """Of each row, in the order in which they were tried."""

    def __len__(self) -> int:
        return len(self.index)

    @property
    def crops(self) -> tuple[torch.Tensor, ...]:
        """(B, size, size, 3) of each view."""
        parts: dict[int, torch.Tensor] = {}
        for block, views in zip(self._blocks, self._numbers, strict=True):
            pixels = block.permute(0, 2, 3, 1)
            parts.update(zip(views, pixels.split(len(self)), strict=True))
        return tuple(parts[view] for view in range(len(parts)))

    @cached_property
    def pixels(self) -> tuple[np.ndarray, ...]:
        """The memory of each view or crop, on the host, as the kernel wants it."""
        return tuple(as_pixels(crops.permute(0, 3, 1, 2)) for crops in self.crops)

    def leave_empty(self, row: int) -> None:
        """Nothing could be read for this row."""
        self.index[row] = -1
        self.params[:, row] = np.zeros((), PARAMS)
        for pixels in self.pixels:
            pixels[row] = 0

    def result(self) -> Result:
        """The batch as the contract has it; its bad samples in the order of the rows."""
        bad = [bad for row in self.bad for bad in row]
        if not self._are_crops:
            return Result(self._blocks, self.index.copy(), bad)
        crops = tuple(block.permute(0, 2, 3, 1) for block in self._blocks)
        return Result(crops, self.index.copy(), bad, self.params)


def candidates(wanted: int, source: Source, max_bad_samples: int | None) -> Iterator[int]:
    """The sample that is asked for, then those that may take its place, in the order to be tried.

    More failures than the budget allows need no further tries: the loader ends the run on them.
    """
    tries = 1 if max_bad_samples is None else max_bad_samples + 1
    for step in range(min(tries, len(source))):
        yield (wanted + step) % len(source)


class RowMaker:
    """Makes views or crops, by the kernel or by the oracle. Many threads may share one."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._packed = [pack_spec(spec)[0] for spec in options.specs]
        self._makers = [
            build_view_maker(spec, ops=options.ops, stages=options.stages) for spec in options.specs
        ]
        self._clock = StageClock(options.stages)

    def draw(self, rows: Rows, row: int, *, height: int, width: int) -> None:
        """Draw the parameters of a row, whose picture has this many px."""
        seed, epoch = np.uint64(self._options.seed), np.uint64(rows.epoch)
        for view, packed in enumerate(self._packed):
            drawn = rows.params[view, row]
            draw_view(packed, seed, epoch, rows.index[row], np.uint64(view), height, width, drawn)

    def write(self, rows: Rows, row: int, images: Sequence[np.ndarray]) -> None:
        """Make the views of a row whose parameters are drawn.

        Args:
            rows: of the row.
            row: to be filled.
            images: (H, W, 3) uint8, one for each view.
        """
        for view, make in enumerate(self._makers):
            make(images[view], rows.params[view], row, rows.pixels[view])
            if rows.pixels[view].itemsize == 1:  # the kernel mirrors crops as well
                rows.params[view, row]["flip"] = 0

    def make(self, rows: Rows, row: int, image: np.ndarray) -> None:
        """Draw and write all views of one picture, (H, W, 3) uint8."""
        self.draw(rows, row, height=image.shape[0], width=image.shape[1])
        self.write(rows, row, [image] * len(self._makers))

    def decode_and_make(self, rows: Rows, row: int, *, data: bytes = b"") -> None:
        """Make a row from its file, or from that of its replacement; or leave it empty.

        Args:
            rows: of the row.
            row: to be filled.
            data: the file, where it was read already.
        """
        image = self.decode_or_next(rows, row, data=data)
        if image is None:
            rows.leave_empty(row)
        else:
            self.make(rows, row, image)

    def decode_or_next(self, rows: Rows, row: int, *, data: bytes = b"") -> np.ndarray | None:
        """The row's picture by `decode_rgb`, or the next readable one in the listing, or nothing.

        The row takes the index of the picture, from the moment on when it is read.
        """
        source = self._options.source
        wanted = int(rows.index[row])
        if wanted < 0:
            return None
        for index in candidates(wanted, source, self._options.max_bad_samples):
            rows.index[row] = index
            self._clock.lap(REST)
            try:
                if not data or index != wanted:
                    data = source.read(index)
                self._clock.lap(READ)
                image = decode_rgb(data)
                self._clock.lap(DECODE)
            except BadSampleError as error:
                rows.bad[row].append(BadSample(index, source.key(index), str(error)))
            else:
                return image
        return None
