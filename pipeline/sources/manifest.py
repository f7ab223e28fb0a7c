"""The manifest beside shards: what lies where, and checksums of all of it.

    manifest.json   the head: format, classes, files, checksums of their parts, how it was made
    manifest.npz    flat arrays, one entry for each sample, in the order in which they are stored

The arrays are mapped, not read, so that a million samples open at once and cost no memory until
they are used. numpy alone reads them: `np.load("manifest.npz")`.
"""

import io
import json
import mmap
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from ..errors import UserError
from . import Format
from .npz import BROKEN, find_arrays
from .paths import shown
from .recordio_format import extent_of

VERSION = 1
JPEG, RAW, PNG, OTHER = 0, 1, 2, 3
"""How a picture is stored: `kind`. RAW: (height, width, 3) uint8 pixels; OTHER: any other file,
in shards that were indexed only."""

COLUMNS = {
    "index": "<u4",
    "label": "<i4",
    "kind": "u1",
    "width": "<u2",
    "height": "<u2",
    "shard": "<u4",
    "offset": "<u8",
    "length": "<u4",
    "pieces": "<u2",
    "checksum": "<u8",
    "key_end": "<u8",
}
"""Of each sample: its position in the source's sorted listing; class, -1 without; `kind`; px; the
number of its file; first byte of the picture there; bytes of the picture; in how many pieces
RecordIO cut it; its xxh3_64; the end of its name in `keys`."""
_KEYS = "keys"
_CHECKED = 1 << 16
"""Samples at a time."""
_BLANK = "0" * 16


@dataclass(frozen=True, kw_only=True)
class Head:
    """manifest.json."""

    format: str
    classes: tuple[str, ...]
    num_samples: int
    files: dict[str, int]
    """The shards, in order: name → bytes."""
    parts: tuple[tuple[int, int, int, str], ...]
    """What the shards consist of, without a gap: number of the shard, first byte, the one behind
    the last, xxh3_64 in hex."""
    indexes: dict[str, str]
    """Files for others' readers: name → xxh3_64 of all of it."""
    samples: str
    """xxh3_64 of manifest.npz."""
    made: dict[str, Any] = field(default_factory=dict)
    """Source, options, seed, counts: how these shards came about."""
    version: int = VERSION


def checksum(data: bytes | memoryview) -> str:
    """xxh3_64 in hex."""
    return xxhash.xxh3_64_hexdigest(data)


def paths_of(data: Path) -> tuple[Path, Path]:
    """The head and the arrays that belong to a folder of shards, or to a beton."""
    if data.suffix == ".beton":
        return data.with_name(f"{data.name}.manifest.json"), data.with_name(
            f"{data.name}.manifest.npz"
        )
    return data / "manifest.json", data / "manifest.npz"


def read_format(path: Path) -> Format:
    """The format that a head names, unchecked; of shards at any rate, or it would not be there."""
    try:
        name = json.loads(path.read_bytes())["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        name = None  # opening it says what is wrong
    return name if name in ("tfrecord", "recordio") else "webdataset"


def encode_head(head: Head) -> bytes:
    """The file. It holds its own checksum, with sixteen zeros in the checksum's place."""
    text = json.dumps(asdict(head) | {"checksum": _BLANK}, indent=1, ensure_ascii=False)
    blank = text.encode("utf-8", "surrogateescape") + b"\n"
    start = blank.rindex(_BLANK.encode())
    return blank[:start] + checksum(blank).encode() + blank[start + len(_BLANK) :]


def encode_samples(columns: dict[str, np.ndarray], keys: bytes) -> bytes:
    """manifest.npz: equal arrays give equal bytes."""
    buffer = io.BytesIO()
    arrays = {name: columns[name].astype(dtype) for name, dtype in COLUMNS.items()}
    arrays[_KEYS] = np.frombuffer(keys, np.uint8)
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


class Manifest:
    """An open manifest. Everything that it says is within bounds; checksums are `verify`'s part."""

    def __init__(self, data: Path, *, field: str = "data.path") -> None:
        """
        Args:
            data: the folder of shards, or the beton.
            field: the configuration's field, named in errors.

        Raises:
            UserError: it is missing, damaged, or of another version.
        """
        head_path, self._samples_path = paths_of(data)
        self._told = f"{field}={shown(data)}"
        self.head = self._read_head(head_path)
        columns = self._map_samples()
        self.keys: np.ndarray = columns.pop(_KEYS)
        """Names, UTF-8, one behind the other."""
        self.columns = columns
        """See `COLUMNS`; mapped, (N,) each."""
        self._check()

    def __len__(self) -> int:
        return self.head.num_samples

    def __getitem__(self, name: str) -> np.ndarray:
        """A column, mapped."""
        return self.columns[name]

    def key(self, row: int) -> str:
        """The name of a sample."""
        ends = self.columns["key_end"]
        start = int(ends[row - 1]) if row else 0
        return self.keys[start : int(ends[row])].tobytes().decode("utf-8", "surrogateescape")

    def damaged(self, reason: str) -> UserError:
        """The error that tells of it."""
        return UserError(f"{self._told}: its manifest cannot be used: {reason}; convert again")

    def _read_head(self, path: Path) -> Head:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{self._told}: has no manifest ({path.name})") from None
        except OSError as error:
            raise self.damaged(f"{path.name} cannot be read ({error.strerror})") from None
        try:
            fields = json.loads(data.decode("utf-8", "surrogateescape"))
            own = fields.pop("checksum")
            version = fields["version"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.damaged(f"{path.name} is no manifest ({error!r:.80})") from None
        if version != VERSION:
            raise self.damaged(f"{path.name} has the version {version!r:.20}, not {VERSION}")
        place = data.rfind(str(own).encode()) if isinstance(own, str) and len(own) == 16 else -1
        blank = data[:place] + _BLANK.encode() + data[place + 16 :] if place >= 0 else b""
        if checksum(blank) != own:
            raise self.damaged(f"{path.name} is not as it was written")
        try:
            head = Head(**fields)
        except TypeError as error:
            raise self.damaged(f"{path.name}: {error}") from None
        # Whoever writes a right checksum may still write wrong values.
        if not _is_sound(head):
            raise self.damaged(f"{path.name} has a field of a wrong kind")
        return head

    def _map_samples(self) -> dict[str, np.ndarray]:
        path = self._samples_path
        try:
            file = np.memmap(path, np.uint8, mode="r")
            arrays = find_arrays(path, file.view(np.ndarray))
        except FileNotFoundError:
            raise self.damaged(f"{path.name} is missing") from None
        except BROKEN as error:
            raise self.damaged(f"{path.name} cannot be read ({error!r:.80})") from None
        count = self.head.num_samples
        for name, dtype in (*COLUMNS.items(), (_KEYS, "u1")):
            found = arrays.get(name)
            if (
                found is None
                or found.dtype != np.dtype(dtype)
                or (name != _KEYS and len(found) != count)
            ):
                raise self.damaged(f"{path.name}: {name} is missing, or of another form")
        self._mapping = file
        return {name: arrays[name] for name in (*COLUMNS, _KEYS)}

    def forget(self) -> None:
        """Give back the memory of the mapped pages, which come again when they are used."""
        self._mapping._mmap.madvise(mmap.MADV_DONTNEED)  # pyright: ignore

    def _check(self) -> None:
        """Bounds, without reading a shard; piece by piece, to need no memory of its own."""
        count = len(self)
        if not count:
            raise self.damaged("it lists no samples")
        files = np.array(list(self.head.files.values()), np.uint64)
        end = 0
        for start in range(0, count, _CHECKED):
            rows = slice(start, start + _CHECKED)
            self._check_extents({name: self[name][rows] for name in COLUMNS}, files)
            ends = self["key_end"][rows]
            if int(ends[0]) < end or (ends[1:] < ends[:-1]).any():
                raise self.damaged("names that overlap")
            end = int(ends[-1])
        if end != len(self.keys):
            raise self.damaged("names that end elsewhere")
        index = np.sort(self["index"])
        if (index[1:] == index[:-1]).any():
            raise self.damaged("two samples of one index")

    def _check_extents(self, columns: dict[str, np.ndarray], files: np.ndarray) -> None:
        shard, length = columns["shard"], columns["length"]
        if int(shard.max()) >= len(files):
            raise self.damaged("a sample lies in a shard that there is not")
        if (columns["pieces"] == 0).any() or (length == 0).any():
            raise self.damaged("a sample without bytes")
        extent = extent_of(length, columns["pieces"]).astype(np.uint64)
        offset, size = columns["offset"], files[shard]
        if ((offset > size) | (extent > size - np.minimum(offset, size))).any():
            raise self.damaged("a sample lies outside its shard")
        label = columns["label"]
        if not -1 <= int(label.min()) <= int(label.max()) < len(self.head.classes):
            raise self.damaged("a label without a class")


def _is_sound(head: Head) -> bool:
    def texts(values: object) -> bool:
        return isinstance(values, list) and all(isinstance(value, str) for value in values)

    def whole(value: object) -> bool:
        return type(value) is int and 0 <= value < 2**62

    return (
        isinstance(head.format, str)
        and isinstance(head.samples, str)
        and texts(head.classes)
        and whole(head.num_samples)
        and isinstance(head.files, dict)
        and all(whole(size) and _is_name(name) for name, size in head.files.items())
        and isinstance(head.parts, list)
        and all(
            isinstance(part, list)
            and len(part) == 4
            and all(map(whole, part[:3]))
            and part[0] < len(head.files)
            and isinstance(part[3], str)
            for part in head.parts
        )
        and isinstance(head.indexes, dict)
        and all(isinstance(v, str) and _is_name(name) for name, v in head.indexes.items())
        and isinstance(head.made, dict)
    )


def _is_name(name: str) -> bool:
    """Of a file in the folder itself."""
    return bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")
