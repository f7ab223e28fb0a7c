"""RecordIO's pieces, as its writer and its readers need them; see `convert.formats.recordio`."""

import struct

import numpy as np

MAGIC = struct.pack("<I", 0xCED7230A)
MAX_LENGTH = 1 << 29
"""Bits of a piece's length."""
HEADER = 24
"""Bytes of the label and the index in front of a picture."""
PREFIX = 8 + HEADER
"""Bytes of a record in front of its picture."""

_WORD = np.frombuffer(MAGIC, "<u4")[0]


def extent_of(length: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """(N,) int64: bytes from pictures' first to their last: each cut adds 8 and leaves out 4.

    Args:
        length: (N,) integers: bytes of each picture.
        pieces: (N,) integers: in how many pieces it lies.
    """
    return length.astype(np.int64) + 4 * (pieces.astype(np.int64) - 1)


def find_magic(data: bytes | memoryview) -> list[int]:
    """Where a picture has the magic at a multiple of 4, in bytes; nearly always nowhere."""
    words = np.frombuffer(data, "<u4", count=len(data) // 4)
    return (np.flatnonzero(words == _WORD) * 4).tolist()


def join_pieces(stored: bytes, count: int) -> bytes:
    """A picture that was cut.

    Args:
        stored: from the record's first byte to the picture's last.
        count: of the pieces.

    Raises:
        ValueError: the pieces are not where their frames say.
    """
    pieces, at = [], 0
    for number in range(count):
        (word,) = struct.unpack_from("<I", stored, at + 4) if len(stored) >= at + 8 else (0,)
        flag = 1 if number == 0 else 3 if number == count - 1 else 2
        end = at + 8 + word % MAX_LENGTH
        if stored[at : at + 4] != MAGIC or word >> 29 != flag or end > len(stored):
            raise ValueError(f"piece {number} of {count} has a damaged frame")
        pieces.append(stored[at + 8 : end])
        at = end
    if at != len(stored):
        raise ValueError(f"{len(stored) - at} bytes behind the last of {count} pieces")
    return MAGIC.join(pieces)[HEADER:]
