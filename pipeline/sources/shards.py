"""A folder of shards with a manifest: pictures at random, straight from the mapped files."""

from pathlib import Path

import numpy as np

from ..errors import BadSampleError, UserError
from . import Format, Peek, digest_of
from .manifest import Manifest
from .recordio_format import PREFIX, join_pieces


class ShardSource:
    """WebDataset, TFRecord or RecordIO, which differ only in what stands between the pictures.

    The listing is that of the source which was converted. Pickled, it is its path, and opened
    again. The manifest was checked when it was opened, and the sizes of the shards with it, so that
    extents may be given to native code.
    """

    def __init__(self, path: str | Path, *, field: str = "data.path") -> None:
        """
        Args:
            path: of the folder.
            field: the configuration's field, named in errors.

        Raises:
            UserError: manifest or shards are missing, damaged, or do not fit each other.
        """
        self.path = str(path)
        self._field = field
        self._manifest = manifest = Manifest(Path(path), field=field)
        self.format: Format = _format(manifest, field)
        self.classes = tuple(manifest.head.classes)
        self._order = np.argsort(manifest["index"], kind="stable").astype(np.uint32)
        self.labels = manifest["label"][self._order].astype(np.int64)
        """(N,) int64; -1 without a label."""
        self.data, self._places = self._map_shards()
        """The shards, flat uint8, mapped and not writable."""
        manifest.forget()

    def extents(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where pictures lie.

        Args:
            indices: (n,) integers.

        Returns:
            (n,) each: number of the shard in `data`; uint64 first byte in it; uint32 bytes; bool
            whether it lies in pieces, which `read` joins, and not as a whole.
        """
        rows = self._order[indices]
        columns = (self._manifest[name][rows] for name in ("shard", "offset", "length", "pieces"))
        shard, offset, length, pieces = columns
        return shard, offset, length, pieces > 1

    def _map_shards(self) -> tuple[list[np.ndarray], list[tuple[int, int, int]]]:
        mapped, places = [], []
        for name, size in self._manifest.head.files.items():
            path = Path(self.path) / name
            try:
                status = path.stat()
                if status.st_size != size:
                    raise UserError(
                        f"{self._field}={path}: has {status.st_size:,} bytes, and its manifest "
                        f"says {size:,}; copy or convert it again"
                    )
                mapped.append(np.memmap(path, np.uint8, mode="r").view(np.ndarray))
            except FileNotFoundError:
                raise UserError(
                    f"{self._field}={path}: is missing, and its manifest lists it; copy it again"
                ) from None
            except OSError as error:
                raise UserError(
                    f"{self._field}={path}: cannot be read ({error.strerror})"
                ) from error
            places.append((status.st_dev, status.st_ino, status.st_mtime_ns))
        return mapped, places

    def __reduce__(self) -> tuple:
        return _open_again, (self.path, self._field, self._places)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def left_out(self) -> tuple[tuple[str, int], ...]:
        """What the index of others' shards left out; of our own every record is listed."""
        counts = self._manifest.head.made.get("left_out")
        items = counts.items() if isinstance(counts, dict) else ()
        return tuple(sorted((why, count) for why, count in items if isinstance(count, int)))

    @property
    def digest(self) -> str:
        """Of the manifest's arrays, checksums of the pictures among them."""
        return digest_of(self._manifest.head.samples.encode(), *map(str.encode, self.classes))

    def key(self, index: int) -> str:
        """The picture's name in the source that was converted."""
        return self._manifest.key(int(self._order[index]))

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the picture in its shard."""
        row = self._order[index]
        device, inode, _ = self._places[int(self._manifest["shard"][row])]
        return device, inode, int(self._manifest["offset"][row])

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        data = self.read(index)
        return Peek(len(data), data[:count], data[-2:])

    def read(self, index: int) -> bytes:
        """The picture's file."""
        row = self._order[index]
        names = ("shard", "offset", "length", "pieces")
        number, start, length, count = (int(self._manifest[name][row]) for name in names)
        try:
            return cut_out(self.data[number], start, length, count)
        except ValueError as error:
            raise BadSampleError(f"damaged shard: {error}") from error


def cut_out(shard: np.ndarray, start: int, length: int, pieces: int) -> bytes:
    """A picture.

    Args:
        shard: all of it, flat uint8.
        start: first byte of the picture.
        length: bytes of it.
        pieces: in how many it lies.

    Raises:
        ValueError: the pieces are not where their frames say.
    """
    if pieces == 1:
        return shard[start : start + length].tobytes()
    begin, end = max(start - PREFIX, 0), start + length + 4 * (pieces - 1)
    return join_pieces(shard[begin:end].tobytes(), pieces)


def _format(manifest: Manifest, field: str) -> Format:
    name = manifest.head.format
    if name == "webdataset" or name == "tfrecord" or name == "recordio":
        return name
    raise manifest.damaged(f"shards of the unknown format {name!r:.40}")


def _open_again(path: str, field: str, places: list[tuple[int, int, int]]) -> ShardSource:
    """Unpickle, elsewhere, a source that was open."""
    source = ShardSource(path, field=field)
    if source._places != places:
        raise UserError(f"{field}={path}: has changed since it was opened; start again")
    return source
