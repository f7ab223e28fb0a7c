"""Which files DALI is given: plain ones alone, whose headers were walked through beforehand.

DALI 2.4's parser brings the process down (a segmentation fault, in about one batch of forty) when
it refuses a header in a batch with other samples: an empty file, junk, a damaged length. What it
refuses only while decoding is raised, at the cost of a pipeline. So whatever is not plain goes
through `decode_rgb`, in this process, like everything that DALI might decode otherwise.

DALI is given fewer kinds than it could decode: of several frames it composes the first its own way,
and chunks of a PNG may say how colours are meant, which `decode_rgb` ignores. So what is left of a
file are its pixels alone.

On plain files, damaged ones included, DALI on a CPU and `decode_rgb` agree to the bit: on 3,000 of
3,000 damaged JPEGs.
"""

import zlib
from typing import NamedTuple

import numpy as np

from ...decode import MAX_PIXELS, MAX_SIDE

_SOI, _SOS, _EOI = b"\xff\xd8", 0xDA, 0xD9
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive Huffman coding
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman, quantisation, restart interval
_BETWEEN_SCANS = (*_TABLES, _SOS)
_COLOURS = (0xE0, 0xEE)  # JFIF and Adobe, which tell what the components are
_IGNORED = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # EXIF, ICC profiles, comments

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_GRAY_8, _RGB_8 = b"\x08\x00", b"\x08\x02"  # bit depth, colour type
_PNG_PIXELS = (b"IHDR", b"IDAT", b"IEND")
# What Pillow does not look into at all, or without more than the length to find fault with. All
# other chunks are refused: animation, transparency, EXIF, profiles, text.
_PNG_IGNORED = {b"bKGD": None, b"sBIT": None, b"tIME": None}
_PNG_IGNORED |= {b"cHRM": 32, b"gAMA": 4, b"pHYs": 9, b"sRGB": 1}


class Plain(NamedTuple):
    """A file for DALI."""

    data: bytes
    """Without what does not bear on the pixels."""
    height: int
    width: int


def as_plain(data: bytes) -> Plain | None:
    """The file as DALI is given it, or None if it must not be.

    Plain are Huffman-coded JPEGs of 8 bits with one or three components, and PNGs of 8 bits without
    a palette, transparency or animation, both with a sound chain of headers, an end, and a size
    within the limits.
    """
    if data.startswith(_SOI):
        plain = _plain_jpeg(data)
    elif data.startswith(_PNG_START):
        plain = _plain_png(data)
    else:
        return None
    if plain is None or not 0 < plain.height * plain.width <= MAX_PIXELS:
        return None
    return plain if max(plain.height, plain.width) <= MAX_SIDE else None


def _plain_jpeg(data: bytes) -> Plain | None:
    kept = [_SOI]
    height = width = 0
    position = 2
    while position + 12 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if end < position + 4:
            return None
        if marker == _SOS:
            end = _find_end(data, position)
            return Plain(b"".join((*kept, data[position:end])), height, width) if end else None
        if marker in _FRAMES:
            precision, components = data[position + 4], data[position + 9]
            is_sound = end == position + 10 + 3 * components
            if height or precision != 8 or components not in (1, 3) or not is_sound:
                return None
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
        elif marker not in _TABLES + _COLOURS + _IGNORED:
            return None
        if marker not in _IGNORED:
            kept.append(data[position:end])
        position = end
    return None


def _find_end(data: bytes, position: int) -> int:
    """Where the file ends, or 0: it is cut short, or has another marker amid the pixels.

    At some of these markers libjpeg gives up behind the last row, when DALI has what it wants.

    Args:
        data: a JPEG.
        position: of its first scan's marker.
    """
    values = np.frombuffer(data, np.uint8)
    # Without the bytes that are stuffed after FF, most files have nothing left but the end.
    is_unstuffed = (values[position:-1] == 0xFF) & (values[position + 1 :] != 0)
    if np.count_nonzero(is_unstuffed) == 2 and data[-2] == 0xFF and data[-1] == _EOI:
        return len(data)
    places = position + np.flatnonzero(is_unstuffed)
    following = values[places + 1]
    # Fill bytes and restarts are no markers that matter.
    is_marker = (following != 0xFF) & (following & 0xF8 != 0xD0)
    at = position
    for found in places[is_marker].tolist():
        if found < at:  # amid a table
            continue
        if data[found + 1] == _EOI:
            return found + 2
        if data[found + 1] not in _BETWEEN_SCANS:
            return 0
        at = found + 2 + int.from_bytes(data[found + 2 : found + 4], "big")
    return 0


def _plain_png(data: bytes) -> Plain | None:
    if data[24:26] not in (_GRAY_8, _RGB_8):
        return None
    kept = [data[:8]]
    before, position = b"", 8
    while position + 12 <= len(data):
        kind = data[position + 4 : position + 8]
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if kind in _PNG_PIXELS:
            kept.append(data[position:end])
        elif kind not in _PNG_IGNORED or _PNG_IGNORED[kind] not in (None, length):
            return None
        if kind == b"IEND":
            width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
            return Plain(b"".join(kept), height, width)
        if kind != b"IDAT":  # whose sums nobody checks; Pillow checks the others, DALI does not
            checksum = int.from_bytes(data[end - 4 : end], "big")
            if checksum != zlib.crc32(data[position + 4 : end - 4]):
                return None
        elif before != b"IDAT" and b"IDAT" in (each[4:8] for each in kept[1:-1]):
            return None  # pixels in two places
        before, position = kind, end
    return None
