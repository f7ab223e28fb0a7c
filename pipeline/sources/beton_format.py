"""FFCV's file format, version 2: header, field descriptors, metadata, pages of data, allocations.

FFCV trusts what a file says, down to the addresses that its native code reads. So everything is
checked here first, against the file's own size, in Python's unbounded integers or by comparisons
that cannot overflow.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import UserError

VERSION = 2
JPG, RAW = 0, 1
"""How a picture is stored: `mode` of its metadata."""

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
FIELD = np.dtype([("type_id", "u1"), ("name", "S16"), ("arguments", "u1", (1024,))])
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])

_FLOAT, INT_FIELD, RGB_IMAGE_FIELD, _BYTES, _NDARRAY, _JSON, _TENSOR = range(7)
_POINTER = np.dtype([("ptr", "<u8"), ("size", "<u8")])
METADATA = {
    _FLOAT: np.dtype("<f8"),
    INT_FIELD: np.dtype("<i8"),
    RGB_IMAGE_FIELD: np.dtype(
        [("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")]
    ),
    _BYTES: _POINTER,
    _NDARRAY: np.dtype("<u8"),
    _JSON: _POINTER,
    _TENSOR: np.dtype("<u8"),
}
"""What a sample's metadata holds of a field, by the field's type."""

_MAX_FIELDS = 64


@dataclass(frozen=True)
class Tables:
    """What a valid file says of its samples."""

    image_field: str
    images: np.ndarray
    """(N,) records of mode, width, height (px) and data_ptr (bytes from the file's start)."""
    sizes: np.ndarray
    """(N,) uint64: bytes of each picture, all within the file."""
    numbers: dict[str, np.ndarray]
    """The integer fields by name, each (N,) int64."""


def read_tables(name: str, data: np.ndarray) -> Tables:
    """Check a file and find its samples.

    Args:
        name: of the file, for messages.
        data: the file, flat uint8.

    Raises:
        UserError: it is no beton, damaged, or holds no pictures; says what is wrong.
    """
    try:
        return _read_tables(data)
    except _Damaged as error:
        raise UserError(
            f"{name}: not a beton that can be read: {error}; convert or copy it again"
        ) from None


class _Damaged(Exception):
    """What is wrong with a file."""


def _read_tables(data: np.ndarray) -> Tables:
    header = _view(data, HEADER, start=0, count=1, what="header")[0]
    if header["version"] != VERSION:
        raise _Damaged(f"version {header['version']} in its header, not {VERSION}")
    page_size = int(header["page_size"])
    if page_size == 0 or page_size & (page_size - 1):
        raise _Damaged(f"page size {page_size} in its header, not a power of two")
    num_samples, num_fields = int(header["num_samples"]), int(header["num_fields"])
    if not 1 <= num_fields <= _MAX_FIELDS:
        raise _Damaged(f"{num_fields} fields in its header, not 1 to {_MAX_FIELDS}")
    if num_samples == 0:
        raise _Damaged("it holds no samples")
    fields = _view(data, FIELD, start=HEADER.itemsize, count=num_fields, what="field descriptors")
    names, types = _names(fields["name"]), [int(number) for number in fields["type_id"]]
    dtype = _metadata_dtype(names, types)
    start = HEADER.itemsize + fields.nbytes
    metadata = _view(data, dtype, start=start, count=num_samples, what="metadata")
    images = [name for name, number in zip(names, types, strict=True) if number == RGB_IMAGE_FIELD]
    if len(images) != 1:
        raise _Damaged(f"{len(images)} image fields among {names}, not one")
    end = int(header["alloc_table_ptr"])
    sizes = _sizes(data, metadata[images[0]], first=start + metadata.nbytes, end=end)
    numbers = {
        name: np.ascontiguousarray(metadata[name])
        for name, number in zip(names, types, strict=True)
        if number == INT_FIELD
    }
    return Tables(images[0], metadata[images[0]], sizes, numbers)


def _view(data: np.ndarray, dtype: np.dtype, *, start: int, count: int, what: str) -> np.ndarray:
    """(count,) records at byte `start`, without a copy."""
    end = start + count * dtype.itemsize
    if end > data.size:
        raise _Damaged(f"{what} would end at byte {end}, but the file has {data.size}")
    return data[start:end].view(dtype)


def _names(encoded: np.ndarray) -> list[str]:
    try:
        # All sixteen bytes must be ASCII for FFCV, also those behind the end.
        names = [bytes(name).decode("ascii").split("\0")[0] for name in encoded]
    except UnicodeDecodeError:
        raise _Damaged("a field's name is not ASCII") from None
    if len(set(names)) != len(names) or "" in names:
        raise _Damaged(f"field names {names}, empty or not unique")
    return names


def _metadata_dtype(names: list[str], types: list[int]) -> np.dtype:
    """A sample's metadata, laid out as FFCV does."""
    for name, number in zip(names, types, strict=True):
        if number not in METADATA:
            raise _Damaged(f"field {name!r} has the type {number}, which FFCV {VERSION} has not")
    return np.dtype([(n, METADATA[t]) for n, t in zip(names, types, strict=True)], align=True)


def _sizes(data: np.ndarray, images: np.ndarray, *, first: int, end: int) -> np.ndarray:
    """(N,) uint64: bytes of each picture, whose extents lie between `first` and `end`."""
    if not first <= end <= data.size or (data.size - end) % ALLOCATION.itemsize:
        raise _Damaged(f"allocation table from byte {end} to the end at {data.size}")
    allocations = data[end:].view(ALLOCATION)
    starts, sizes = allocations["ptr"], allocations["size"]
    # Each start is at most `end` where `end - start` is taken, so that nothing wraps around.
    outside = (starts < first) | (starts > end)
    outside |= sizes > np.uint64(end) - np.minimum(starts, np.uint64(end))
    if outside.any():
        number = int(np.argmax(outside))
        raise _Damaged(
            f"allocation {number}, {sizes[number]} bytes from {starts[number]}, lies outside the "
            f"data, bytes {first} to {end}"
        )
    # Empty allocations of other fields may begin where a picture does: the last is the largest.
    order = np.lexsort((sizes, starts))
    wanted = images["data_ptr"]
    places = np.searchsorted(starts[order], wanted, side="right") - 1
    missing = places < 0
    if len(order):
        missing |= starts[order][places] != wanted
    if missing.any():
        number = int(np.argmax(missing))
        raise _Damaged(f"sample {number}: no allocation begins at its byte, {wanted[number]}")
    found = sizes[order][places]
    _check_pictures(images, found)
    return found


def _check_pictures(images: np.ndarray, sizes: np.ndarray) -> None:
    """Each picture has a known mode and pixels, and a raw one the bytes for them."""
    height, width = images["height"].astype(np.uint64), images["width"].astype(np.uint64)
    is_raw = images["mode"] == RAW
    problems = {
        "an unknown mode": ~is_raw & (images["mode"] != JPG),
        "no pixels": height * width == 0,
        "no bytes": sizes == 0,
        "other than height x width x 3 bytes": is_raw & (sizes != height * width * 3),
    }
    for problem, wrong in problems.items():
        if wrong.any():
            number = int(np.argmax(wrong))
            raise _Damaged(
                f"sample {number} has {problem}: mode {images['mode'][number]}, {width[number]}x"
                f"{height[number]} px, {sizes[number]} bytes"
            )
