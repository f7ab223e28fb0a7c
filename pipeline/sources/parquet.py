"""Parquet files of pictures, as the Hugging Face hub lays image sets out."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadSampleError, UserError
from . import Format, Peek, digest_of
from .parquet_files import list_files
from .parquet_format import REMEDY, load_pyarrow, open_file, read_table, reason, stamp_of
from .paths import shown

_CACHE_BYTES = 128 << 20
"""Of decoded row groups that are kept."""
_ROWS = 256
"""Decoded at a time: Arrow cannot hold more than 2 GiB of a struct's bytes in one piece."""


class ParquetSource:
    """Pictures by their number: files sorted by name, then rows.

    Parquet is made to be read from the front. What can be read is a row group (100 to 1,000
    pictures in the hub's sets), so a picture in the order of the listing costs its share of one,
    and **a picture at random costs a whole row group**, read and decompressed, for that one
    picture: convert such a set before it is trained from (`swiftsiam convert` reads in order).
    Of row groups the last are kept, 128 MiB in each process and one at least; one is decoded at a
    time, whatever the number of threads. Labels and footers are read when it is opened.

    The column of pictures is the one whose feature in the schema's metadata `huggingface` is an
    Image, that of labels a ClassLabel, which also names the classes. Without such metadata the
    names tell them (image, img, ...; label, labels, fine_label, ...) and classes are called by
    their numbers; without a column of labels the pictures have none. Null pictures are bad samples.

    Pickled, it is its path, and opened again.
    """

    def __init__(self, path: str | Path, *, field: str = "data.path") -> None:
        """
        Args:
            path: of a file; of a folder of files; or of a part of such a folder (DIR/train for
                DIR/train-00000-of-00005.parquet and so on).
            field: the configuration's field, named in errors.

        Raises:
            UserError: pyarrow is not installed, a file is missing or damaged, its columns do not
                say what they are, or the files differ in them.
        """
        self.path = str(path)
        self._field = field
        load_pyarrow(f"{field}={shown(path)}")
        self._files, self.left_out = list_files(Path(path), field=field)
        tables = [read_table(file, field=field) for file in self._files]
        self._columns = tables[0].columns
        for file, table in zip(self._files, tables, strict=True):
            if table.columns != self._columns:
                raise UserError(
                    f"{field}={shown(file)}: its columns or classes are other than those of "
                    f"{shown(self._files[0].name)}; keep the files of one set in a folder"
                )
        self.labels = np.concatenate([table.labels for table in tables])
        """(N,) int64; -1 without a label."""
        if not len(self.labels):
            raise UserError(f"{field}={shown(path)}: holds no rows; {REMEDY}")
        classes = self._columns.classes
        numbers = map(str, range(int(self.labels.max()) + 1))
        self.classes = tuple(numbers) if classes is None else classes
        """As the metadata names them, by number."""
        self._stamps = [table.stamp for table in tables]
        self._file_ends = np.cumsum([len(table.labels) for table in tables])
        self._group_ends = np.cumsum([rows for table in tables for rows in table.group_rows])
        self._group_places = [
            (number, group) for number, t in enumerate(tables) for group in range(len(t.group_rows))
        ]
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Any] = OrderedDict()

    def __reduce__(self) -> tuple:
        return _open_again, (self.path, self._field, self._stamps)

    @property
    def format(self) -> Format:
        return "parquet"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """Of the files' names, bytes and rows, and of labels and classes."""
        names = "\0".join(file.name for file in self._files).encode()
        sizes = np.array([stamp[2] for stamp in self._stamps], "<i8")
        ends = self._file_ends.astype("<i8")
        classes = map(str.encode, self.classes)
        return digest_of(names, sizes.tobytes(), ends.tobytes(), self.labels.tobytes(), *classes)

    def place(self, index: int) -> tuple[int, int, int]:
        """Of the row in its file: where its bytes lie is not known before they are decoded."""
        file, row = _find(self._file_ends, index)
        device, inode = self._stamps[file][:2]
        return device, inode, row

    def key(self, index: int) -> str:
        """The file's name and the row's number in it."""
        file, row = _find(self._file_ends, index)
        return f"{self._files[file].name}:{row}"

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        data = self.read(index)
        return Peek(len(data), data[:count], data[-2:])

    def read(self, index: int) -> bytes:
        """The picture's file. The cost: see the class."""
        group, row = _find(self._group_ends, index)
        value = self._decoded(group)[row].as_py()
        if isinstance(value, dict):
            value = value["bytes"]
        if value is None:
            raise BadSampleError("is null: the file holds no bytes for it")
        return value

    def _decoded(self, group: int) -> Any:
        """The pictures of a row group, a `ChunkedArray`."""
        with self._lock:
            column = self._cache.get(group)
            if column is None:
                column = self._decode(group)
                self._cache[group] = column
                kept = sum(each.nbytes for each in self._cache.values())
                while kept > _CACHE_BYTES and len(self._cache) > 1:
                    kept -= self._cache.popitem(last=False)[1].nbytes
            else:
                self._cache.move_to_end(group)
            return column

    def _decode(self, group: int) -> Any:
        import pyarrow as pa

        number, in_file = self._group_places[group]
        path = self._files[number]
        start = int(self._group_ends[group - 1]) if group else 0
        try:
            if stamp_of(path) != self._stamps[number]:
                raise BadSampleError("its file has changed since it was opened; start again")
            with open_file(path) as file:
                batches = file.iter_batches(
                    batch_size=_ROWS,
                    row_groups=[in_file],
                    columns=[self._columns.image],
                    use_threads=False,
                )
                column = pa.chunked_array([batch.column(0) for batch in batches])
            column.validate(full=True)  # or a damaged offset would be followed anywhere
            if len(column) != int(self._group_ends[group]) - start:
                raise ValueError(f"{len(column)} pictures")
        except BadSampleError:
            raise
        except Exception as error:  # whatever pyarrow makes of a damaged file
            raise BadSampleError(
                f"row group {in_file} of its file cannot be read ({reason(error)})"
            ) from error
        return column


def _find(ends: np.ndarray, index: int) -> tuple[int, int]:
    """Which part an index falls in, and its number there."""
    part = int(np.searchsorted(ends, index, side="right"))
    return part, int(index) - (int(ends[part - 1]) if part else 0)


def _open_again(path: str, field: str, stamps: list[tuple[int, ...]]) -> ParquetSource:
    """Unpickle, elsewhere, a source that was open."""
    source = ParquetSource(path, field=field)
    if source._stamps != stamps:
        raise UserError(f"{field}={path}: has changed since it was opened; start again")
    return source
