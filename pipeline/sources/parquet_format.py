"""What a Parquet file of pictures holds: which columns, which row groups, which labels."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from .paths import shown

_IMAGES = ("image", "img", "images", "picture", "jpg", "jpeg", "png", "webp")
_LABELS = ("label", "labels", "fine_label", "cls", "class", "target")
_MAX_CLASSES = 1_000_000
REMEDY = "copy or download it again"


class Columns(NamedTuple):
    """Which columns of a file are used."""

    image: str
    """Dotted path of the column of bytes."""
    label: str | None
    classes: tuple[str, ...] | None
    """Of the metadata, by number."""


class Table(NamedTuple):
    """A file, without its pictures."""

    columns: Columns
    group_rows: list[int]
    """Of each row group."""
    labels: np.ndarray
    """(rows,) int64; -1 without a label."""
    stamp: tuple[int, ...]


def load_pyarrow(told: str) -> Any:
    """The module `pyarrow.parquet`. Raises UserError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{told}: Parquet files are read with pyarrow, which cannot be imported ({error}); "
            "pip install 'swiftsiam[parquet]'"
        ) from error
    return pyarrow.parquet


def stamp_of(path: Path) -> tuple[int, ...]:
    """What changes when a file does: device, inode, bytes, time of modification (ns)."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def open_file(path: Path) -> Any:
    """A `ParquetFile` that reads no more than it is asked for."""
    from pyarrow import parquet

    return parquet.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)


def reason(error: Exception) -> str:
    """Why a file could not be read, for a message of one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return shown(" ".join(str(error).split()) or type(error).__name__)


def read_table(path: Path, *, field: str) -> Table:
    """Read a file's footer and its labels.

    Raises:
        UserError: it is damaged, or its columns do not say what they are.
    """
    told = f"{field}={shown(path)}"
    try:
        stamp = stamp_of(path)
        with open_file(path) as file:
            metadata = file.metadata
            groups = range(metadata.num_row_groups)
            group_rows = [metadata.row_group(number).num_rows for number in groups]
            columns = choose_columns(told, file.schema_arrow)
            rows = sum(group_rows)
            if min(group_rows, default=0) < 0 or rows != metadata.num_rows:
                raise ValueError(f"{rows} rows in {len(group_rows)} row groups")
            # Before memory is taken for them. A picture has four bytes of length at least.
            if rows > stamp[2]:
                raise ValueError(f"more rows ({rows}) than bytes")
            labels = _read_labels(file, columns.label, rows)
    except UserError:
        raise
    except Exception as error:  # whatever pyarrow makes of a damaged file
        raise UserError(f"{told}: cannot be read ({reason(error)}); {REMEDY}") from error
    _check_labels(told, columns, labels)
    return Table(columns, group_rows, labels, stamp)


def _read_labels(file: Any, column: str | None, rows: int) -> np.ndarray:
    import pyarrow as pa

    if column is None:
        return np.full(rows, -1, np.int64)
    read = file.read(columns=[column], use_threads=False).column(0)
    read.validate(full=True)
    if len(read) != rows:
        raise ValueError(f"{len(read)} labels of {rows} rows")
    return read.cast(pa.int64()).fill_null(-1).to_numpy()


def _check_labels(told: str, columns: Columns, labels: np.ndarray) -> None:
    if not len(labels):
        return
    lowest, highest = int(labels.min()), int(labels.max())
    count = _MAX_CLASSES if columns.classes is None else len(columns.classes)
    if lowest < -1 or highest >= count:
        raise UserError(
            f"{told}: labels from {lowest} to {highest} in the column {shown(columns.label)}; they "
            f"must be class numbers, 0 to {count - 1} (-1: none); {REMEDY}"
        )


def choose_columns(told: str, schema: Any) -> Columns:
    """The columns of pictures and labels, by the hub's feature types, or else by their names.

    Args:
        told: field and path, for messages.
        schema: a `pyarrow.Schema`.

    Raises:
        UserError: there is none for the pictures, or one of several; names the columns.
    """
    features = _read_features(told, schema.metadata)
    image = _pick(
        told, schema, [name for name in schema.names if _is_a(features, name, "Image")], _IMAGES
    )
    if image is None:
        columns = shown(", ".join(f"{field.name} ({field.type})" for field in schema))
        raise UserError(
            f"{told}: no column of pictures among {columns}; call it image, of the pictures' bytes "
            "or of structs with a field bytes"
        )
    path = _bytes_path(schema.field(image))
    if path is None:
        raise UserError(
            f"{told}: the column {shown(image)} is of {shown(schema.field(image).type)}; pictures "
            "must be bytes, or structs with a field bytes"
        )
    label = _pick(
        told,
        schema,
        [name for name in schema.names if _is_a(features, name, "ClassLabel")],
        _LABELS,
    )
    if label is None:
        return Columns(path, None, ())
    if not _is_integer(schema.field(label).type):
        raise UserError(
            f"{told}: the column {shown(label)} is of {shown(schema.field(label).type)}; labels "
            "must be class numbers (integers)"
        )
    return Columns(path, label, _class_names(told, features.get(label)))


def _pick(told: str, schema: Any, typed: list[str], known: tuple[str, ...]) -> str | None:
    """One column of those with the right feature type, or else of those with a known name."""
    named = [name for name in typed or schema.names if name in known]
    chosen = typed if len(typed) == 1 else named
    if len(typed) > 1 and not named:
        chosen = typed
    if len(chosen) > 1:
        raise UserError(
            f"{told}: which of the columns {shown(', '.join(chosen))} is meant? "
            f"leave only one, called {known[0]}"
        )
    return chosen[0] if chosen else None


def _read_features(told: str, metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    text = (metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        info = json.loads(text).get("info") or {}
        return dict(info.get("features") or {})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{told}: its metadata huggingface is no JSON of features ({reason(error)}); {REMEDY}"
        ) from error


def _is_a(features: dict[str, Any], name: str, kind: str) -> bool:
    feature = features.get(name)
    return isinstance(feature, dict) and feature.get("_type") == kind


def _class_names(told: str, feature: Any) -> tuple[str, ...] | None:
    names = feature.get("names") if isinstance(feature, dict) else None
    if names is None:
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_list or not names or len(set(names)) < len(names):
        raise UserError(f"{told}: its metadata huggingface names no classes; {REMEDY}")
    return tuple(names)


def _bytes_path(field: Any) -> str | None:
    if _is_binary(field.type):
        return field.name
    names = [field.type.field(i).name for i in range(field.type.num_fields)]
    if str(field.type).startswith("struct") and names.count("bytes") == 1:
        return f"{field.name}.bytes" if _is_binary(field.type.field("bytes").type) else None
    return None


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_integer(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind)
