"""Where the compiled loop finds its pictures: in mapped files, or in bytes that Python read."""

from typing import Protocol

import numba
import numpy as np
import torch

from ...decode import MAX_PIXELS
from ...errors import BadSampleError, UserError
from ...sources import Source
from ...sources.beton import BetonSource
from ...sources.shards import ShardSource
from ...sources.tar import TarSource
from .loop import NOT_PLAIN, WAITING


class Feed(Protocol):
    """Says of rows where their pictures lie. Used by all threads at once."""

    def fill(self, rows: np.ndarray) -> object:
        """Fill address, length and kind of the WAITING rows, records of `loop.ROW`.

        Returns:
            What the caller must keep as long as it uses the addresses.
        """
        ...


def build_feed(source: Source) -> Feed:
    """The feed of a source. Raises UserError: see `BetonFeed`."""
    if isinstance(source, BetonSource):
        return BetonFeed(source)
    is_mapped = isinstance(source, ShardSource | TarSource)
    return ShardFeed(source) if is_mapped else BytesFeed(source)


class BytesFeed:
    """Pictures of any source, read one by one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def fill(self, rows: np.ndarray) -> list[np.ndarray]:
        kept = []
        for number in np.flatnonzero(rows["status"] == WAITING):
            row, data = rows[number], self._read(int(rows["index"][number]))
            row["address"], row["length"] = data.ctypes.data, data.size
            if data.size == 0:
                row["status"] = NOT_PLAIN
            kept.append(data)
        return kept

    def _read(self, index: int) -> np.ndarray:
        try:
            return np.frombuffer(self._source.read(index), np.uint8)
        except BadSampleError:
            return np.empty(0, np.uint8)  # read again, and named, by what replaces bad samples


class ShardFeed:
    """Pictures of shards or of a tar archive, straight from the mapped files."""

    def __init__(self, source: ShardSource | TarSource) -> None:
        self._bases = np.array([shard.ctypes.data for shard in source.data], np.uint64)
        self._source = source  # keeps the files mapped

    def fill(self, rows: np.ndarray) -> None:
        shards, offsets, lengths, is_cut = self._source.extents(rows["index"])
        rows["address"] = self._bases[shards] + offsets
        rows["length"] = lengths
        rows["status"][is_cut & (rows["status"] == WAITING)] = NOT_PLAIN


class BetonFeed:
    """Pictures of a beton, straight from the mapped file."""

    def __init__(self, source: BetonSource) -> None:
        """
        Raises:
            UserError: FFCV is not installed, or reads other tables than were checked.
        """
        images = _read_by_ffcv(source)
        height, width = images["height"].astype(np.int64), images["width"].astype(np.int64)
        self._source = source  # keeps the file mapped
        self._addresses = images["data_ptr"] + np.uint64(source.data.ctypes.data)
        self._lengths = source.sizes
        self._heights, self._widths = height, width
        self._is_raw = source.is_raw
        self._too_large = self._is_raw & (height * width > MAX_PIXELS)

    def fill(self, rows: np.ndarray) -> None:
        index = rows["index"]
        rows["address"] = self._addresses[index]
        rows["length"] = self._lengths[index]
        rows["height"] = self._heights[index]
        rows["width"] = self._widths[index]
        rows["is_raw"] = self._is_raw[index]
        rows["status"][self._too_large[index] & (rows["status"] == WAITING)] = NOT_PLAIN


def _read_by_ffcv(source: BetonSource) -> np.ndarray:
    """(N,) metadata of the pictures as FFCV's Reader has them, in the listing's order.

    Native code gets what FFCV read, only where it is what `BetonSource` has checked: nothing else
    could tell a file that was written anew in between.
    """
    threads, kernel_threads = torch.get_num_threads(), numba.get_num_threads()
    try:
        from ffcv.reader import Reader
    except ImportError as error:
        raise UserError(
            f"{source.path}: the ffcv engine reads betons with FFCV, which cannot be imported "
            f"({error}); sudo apt-get install -y libopencv-dev libturbojpeg0-dev pkg-config && "
            "make setup, or set loader.engine=torchvision"
        ) from error
    finally:
        # FFCV sets both to 1 when it is imported, and the number of threads changes the weights.
        torch.set_num_threads(threads)
        numba.set_num_threads(kernel_threads)
    reader = Reader(source.path)
    images = reader.metadata[f"f{reader.field_names.index(source.image_field)}"][source.order]
    if not np.array_equal(images, source.images):
        raise UserError(f"{source.path}: has changed since it was opened; start again")
    return images
