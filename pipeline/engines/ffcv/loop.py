"""The compiled loop of the ffcv engine: rows of a batch, from encoded bytes to finished views.

Whatever the plain path cannot do is left to Python by its status: nothing here raises, allocates
or holds the GIL, and the second start finds it compiled on disk.

Why not FFCV's own graph: its `Compiler` caches nothing, so that each start takes some seconds, and
compiles with `fastmath`, which would move the sampler's rounding and with it a window by a pixel.
"""

from typing import NamedTuple

import numpy as np
from numba import carray, njit, typeof, types
from numba.core.types import CompileResultWAP
from numba.extending import intrinsic

from ... import turbojpeg
from ...augment.cpu import Scratch, augment_view, make_scratch
from ...augment.sampler import PARAMS, draw_view
from ...compiling import compiled
from ...decode import MAX_PIXELS
from ...stages import DECODE, NO_TICKS, NOTHING, READ, REST, lap
from ...turbojpeg import TJCS_CMYK, TJCS_YCCK, TJFLAG_ACCURATEDCT, TJPF_RGB, Decoder

WAITING, DONE, NOT_PLAIN, NO_ROOM = range(4)
"""A row's status: to be made; made; for Python to decode; for Python to make the workspace larger
for a picture of the row's height and width, and to call again."""

ROW = np.dtype(
    [
        ("index", np.int64),
        # The encoded file, or the raw pixels: where they lie in memory, and bytes.
        ("address", np.uintp),
        ("length", np.int64),
        # Of the picture, px; of a JPEG they are found out here.
        ("height", np.int64),
        ("width", np.int64),
        ("is_raw", np.int64),
        ("status", np.int64),
    ],
    align=True,
)
"""One row of a batch as the loop sees it."""

_FIRST_PIXELS = 2**20
_FIRST_SIDE = 1024
_PAGE = 4096  # bytes
_LARGEST_PIXELS = 2**24


class Work(NamedTuple):
    """A thread's memory, as compiled code sees it."""

    decoder: int
    """Handle of a `Decoder`."""
    header: np.ndarray
    """(4,) int32: width, height, subsampling and colour space of the JPEG in hand."""
    pixels: np.ndarray
    """uint8, flat: the decoded picture."""
    scratches: tuple[Scratch, ...]
    """One for each view; views of one size share theirs, which stays in the cache."""
    ticks: np.ndarray
    """See `stages`; the scratches have the same."""


class Workspace:
    """A thread's memory: grows with need, and belongs to a thread, not to a sample or a batch."""

    def __init__(self, sizes: tuple[int, ...], ticks: np.ndarray = NO_TICKS) -> None:
        """
        Args:
            sizes: side of each view, px.
            ticks: the thread's counters, see `stages`.
        """
        self._ticks = ticks
        self._sizes = sizes
        self._decoder = Decoder()
        self._side = _FIRST_SIDE
        self.work = self._allocate(_FIRST_PIXELS)

    def fit(self, height: int, width: int) -> bool:
        """Make room for a picture; False for one that Python should decode.

        A single picture of 100 megapixels would otherwise cost each thread 300 MB for good.
        """
        if height * width > _LARGEST_PIXELS:
            return False
        self.fit_window(max(height, width))
        if 3 * height * width > self.work.pixels.size:
            self.work = self._allocate(min(height * width * 5 // 4, _LARGEST_PIXELS))
        return True

    def fit_window(self, side: int) -> None:
        """Make room for windows of `side` px."""
        if side > self._side:
            self._side = side
            self.work = self._allocate(self.work.pixels.size // 3)

    def _allocate(self, num_pixels: int) -> Work:
        by_size = {
            size: make_scratch(size=size, max_side=self._side, ticks=self._ticks)
            for size in set(self._sizes)
        }
        return Work(
            decoder=self._decoder.handle,
            header=np.zeros(4, np.int32),
            pixels=np.empty(3 * num_pixels, np.uint8),
            scratches=tuple(by_size[size] for size in self._sizes),
            ticks=self._ticks,
        )


@intrinsic
def _as_pointer(typingctx, address):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.CPointer(types.uint8)))

    return types.CPointer(types.uint8)(address), codegen


@njit(nogil=True)
def _touch(row, ticks):
    """Have every page of the picture in memory."""
    length = 3 * row.height * row.width if row.is_raw else row.length
    pages = carray(_as_pointer(row.address), length)  # pyright: ignore
    for at in range(0, length, _PAGE):
        ticks[NOTHING] ^= pages[at]  # kept, or a compiler would leave it all out


@njit(nogil=True)
def _decode(row, work):
    """Decode a JPEG into `work.pixels`; the row's status stays WAITING if that went well."""
    header = work.header
    at = header.ctypes.data
    header[0] = header[1] = 0
    if turbojpeg.read_header(work.decoder, row.address, row.length, at, at + 4, at + 8, at + 12):
        # The decoder is left amid this file, and would take the next one for the rest of it. An
        # impossible call, here of no bytes, brings it back to the beginning and does nothing else.
        turbojpeg.decompress(
            work.decoder, row.address, 0, work.pixels.ctypes.data, 1, 3, 1, TJPF_RGB, 0
        )
        return NOT_PLAIN
    if header[0] < 1 or header[1] < 1:  # a file of tables alone is no error, and has no size
        return NOT_PLAIN
    row.width, row.height = header[0], header[1]
    if header[3] == TJCS_CMYK or header[3] == TJCS_YCCK or row.height * row.width > MAX_PIXELS:
        return NOT_PLAIN
    if 3 * row.height * row.width > work.pixels.size:
        return NO_ROOM
    failed = turbojpeg.decompress(
        work.decoder,
        row.address,
        row.length,
        work.pixels.ctypes.data,
        row.width,
        3 * row.width,
        row.height,
        TJPF_RGB,
        TJFLAG_ACCURATEDCT,
    )
    return NOT_PLAIN if failed else WAITING


@njit(nogil=True)
def _make_row(row, number, seed, epoch, specs, params, constants, augment, views, work):
    """Make all views of one row; returns its status."""
    address = row.address
    lap(work.ticks, REST)
    if work.ticks.size > 0:  # of a mapped file, it would else be read while it is decoded
        _touch(row, work.ticks)
        lap(work.ticks, READ)
    if not row.is_raw:
        status = _decode(row, work)
        lap(work.ticks, DECODE)
        if status != WAITING:
            return status
        address = work.pixels.ctypes.data
    image = carray(_as_pointer(address), (row.height, row.width, 3))  # pyright: ignore
    for view in range(len(views)):
        draw_view(
            specs[view],
            seed,
            epoch,
            row.index,
            np.uint64(view),
            row.height,
            row.width,
            params[view, number],
        )
        if not augment(
            image, params[view], number, work.scratches[view], constants[view], views[view]
        ):
            return NO_ROOM
        if views[view].itemsize == 1:  # of crops, nothing is left of the flip
            params[view, number].flip = 0
    return DONE


@compiled(nogil=True)
def make_rows(rows, start, stop, seed, epoch, specs, params, constants, augment, views, work):
    """Make the WAITING ones of rows[start:stop], and set their status.

    Args:
        rows: (B,) records of `ROW`.
        start, stop: of the rows to make.
        seed, epoch: uint64.
        specs: (V,) records of `sampler.pack_spec`.
        params: (V, B) records of `sampler.PARAMS`, filled here.
        constants: V arrays of `augment.cpu.make_constants`.
        augment: of `compiled_augment`.
        views: V arrays (B, size, size, 3), see `augment.cpu.augment_view`.
        work: of a `Workspace`; this thread's own.
    """
    for number in range(start, stop):
        row = rows[number]
        if row.status == WAITING:
            row.status = _make_row(
                row, number, seed, epoch, specs, params, constants, augment, views, work
            )


def compiled_augment(dtype: np.dtype, scratch: Scratch) -> CompileResultWAP:
    """`augment_view` for views of this dtype, as an address for `make_rows`.

    Compiled into `make_rows` itself it would be compiled anew for each number of views, 20 s each.
    """
    example = (
        np.zeros((1, 1, 3), np.uint8),
        np.zeros(1, PARAMS),
        0,
        scratch,
        np.zeros((2, 18), np.float32),
        np.zeros((1, 8, 8, 3), dtype),
    )
    signature = types.boolean(*map(typeof, example))
    return CompileResultWAP(augment_view.get_compile_result(signature))
