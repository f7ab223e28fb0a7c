"""Arrays of an uncompressed .npz, mapped: np.load makes copies, whatever it is told."""

import io
import struct
import tokenize
import zipfile
from pathlib import Path

import numpy as np

BROKEN = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    OverflowError,
    EOFError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""What zipfile and numpy raise at damaged files."""


def find_arrays(path: Path, mapped: np.ndarray) -> dict[str, np.ndarray]:
    """The flat arrays of a file, by name.

    Args:
        path: of the file.
        mapped: (N,) uint8: all of it.

    Raises:
        one of `BROKEN`: it is damaged, compressed, or holds something else.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed")
        # The local header is asked for lengths: in the directory the extra field may differ.
        at = member.header_offset
        local = mapped[at : at + 30].tobytes()
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        start, end = at + 30 + names, at + 30 + names + member.file_size
        if at < 0 or len(local) < 30 or end > len(mapped):
            raise ValueError(f"{member.filename} lies outside the file")
        head = io.BytesIO(mapped[start : min(end, start + 4096)].tobytes())
        if np.lib.format.read_magic(head) != (1, 0):
            raise ValueError(f"{member.filename}: another version of numpy's format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(head, max_header_size=4096)
        if dtype.hasobject or len(shape) != 1:
            raise ValueError(f"{member.filename}: no flat array")
        body = mapped[start + head.tell() : end]
        if body.nbytes != shape[0] * dtype.itemsize:
            raise ValueError(f"{member.filename}: {body.nbytes} bytes for {shape} of {dtype}")
        found[member.filename.removesuffix(".npy")] = body.view(dtype)
    return found
