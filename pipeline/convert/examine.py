"""What becomes of each picture: kept as it is, converted, or rejected. The first pass.

Only the ends of a plain JPEG or PNG are read. Whatever is not plain is decoded, and what readers of
the format cannot be trusted with (CMYK, PNG in a beton, other kinds) is converted: to raw pixels or
PNG, which lose nothing, or to JPEG where that is asked for.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..decode import check_pixels, decode_rgb
from ..errors import BadSampleError
from ..jpeg import EOI, SOI, Frame, read_frame
from ..sources import Source
from ..sources.manifest import JPEG, PNG, RAW
from .contract import Options, ShardFormat
from .remake import decode_to, encode, normalise, read_orientation, shrink, turn


class Examined(NamedTuple):
    """What was found."""

    kind: int = JPEG
    is_converted: bool = False
    is_rejected: bool = False
    length: int = 0
    """Bytes of the picture as it will be stored."""
    width: int = 0
    height: int = 0
    pieces: int = 1
    spooled: int = -1
    """Where the converted picture waits; -1: nowhere."""


EXAMINED = np.dtype(
    [
        ("kind", "u1"),
        ("is_converted", "?"),
        ("is_rejected", "?"),
        ("length", "<i8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("pieces", "<i4"),
        ("spooled", "<i8"),
    ]
)
"""`Examined` as a record."""

_HEAD = 4096
_HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive: what every reader takes."""
PROGRESSIVE = "progressive JPEG"
"""The reason to rewrite one."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x60\x82"  # of IEND's checksum


@dataclass(frozen=True)
class Rules:
    """What is kept, and what the rest becomes."""

    keeps_jpeg: bool
    keeps_png: bool
    otherwise: int
    """What pictures of other kinds become: JPEG, RAW or PNG."""
    changed: int
    """What pictures become that are made smaller, and JPEGs that are turned: JPEG or RAW."""
    options: Options


def choose_rules(shard_format: ShardFormat, options: Options) -> Rules:
    """The rules of a format. A beton's mode: smart keeps JPEGs and loses nothing of the rest; jpg
    makes JPEGs of the rest; raw keeps nothing encoded.
    """
    if shard_format.takes_png:
        return Rules(True, True, PNG, JPEG, options)
    if options.mode == "raw":
        return Rules(False, False, RAW, RAW, options)
    return Rules(True, False, JPEG if options.mode == "jpg" else RAW, JPEG, options)


def examine(
    source: Source, index: int, *, rules: Rules, shard_format: ShardFormat
) -> tuple[Examined, bytes, str]:
    """Look at one picture.

    Args:
        source: where it is.
        index: its position there.
        rules: what is kept.
        shard_format: which format it is for.

    Returns:
        What was found; the picture, where it was encoded anew; why it was converted.

    Raises:
        BadSampleError: it cannot be read, or not be stored.
    """
    peek = source.peek(index, _HEAD)
    kind, height, width, reason = _judge(source, index, peek.head, peek.tail, rules)
    length, picture = peek.size, b""
    options = rules.options
    orientation = 1
    if options.apply_exif and not (peek.head[:2] == SOI and b"Exif" not in peek.head):
        orientation = read_orientation(source.read(index))
    is_large = options.max_side is not None and max(height, width) > options.max_side
    if reason or is_large or orientation != 1:
        pixels = turn(decode_to(source.read(index), options.max_side), orientation)
        kind = rules.otherwise
        if orientation != 1:
            reason = "turned upright"
            kind = rules.changed if peek.head[:2] == SOI else kind
        if options.max_side is not None and max(pixels.shape[:2]) > options.max_side:
            pixels = shrink(pixels, options.max_side)
            reason, kind = f"larger than {options.max_side} px", rules.changed
        height, width = pixels.shape[:2]
        if kind != RAW:
            picture = encode(pixels, kind, quality=options.quality)
        length = len(picture) or pixels.nbytes
    elif options.normalise_jpeg and kind == JPEG and _is_progressive(source, index, peek.head):
        picture = normalise(source.read(index)) or b""
        length = len(picture) or length
        reason = PROGRESSIVE if picture else ""
    if length > shard_format.largest:
        raise BadSampleError(
            f"{length:,} bytes, and a picture of this format has at most {shard_format.largest:,}"
        )
    pieces = 1
    if shard_format.needs_content:
        pieces = shard_format.count_pieces(picture or source.read(index))
    return Examined(kind, bool(reason), False, length, width, height, pieces), picture, reason


def _judge(
    source: Source, index: int, head: bytes, tail: bytes, rules: Rules
) -> tuple[int, int, int, str]:
    """(kind, height, width, why it must be converted; empty: it is kept as it is)."""
    if head[:2] == SOI:
        frame = _find_frame(source, index, head)
        check_pixels(frame.height, frame.width)
        is_plain = frame.marker in _HUFFMAN and frame.precision == 8 and frame.components in (1, 3)
        if is_plain and tail != EOI:
            decode_rgb(source.read(index))  # it may have something behind its end, or none
        reason = "" if is_plain and rules.keeps_jpeg else _name_jpeg(frame, is_plain=is_plain)
        return JPEG, frame.height, frame.width, reason
    if head[:8] == _PNG and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
        check_pixels(height, width)
        if rules.keeps_png and tail != _PNG_END:
            decode_rgb(source.read(index))
        return PNG, height, width, "" if rules.keeps_png else "PNG"
    return PNG, 0, 0, "of another kind than JPEG and PNG" if rules.keeps_png else "no JPEG"


def _find_frame(source: Source, index: int, head: bytes) -> Frame:
    try:
        return read_frame(head)
    except BadSampleError:  # large EXIF data and profiles stand in front of it
        return read_frame(source.read(index))


def _name_jpeg(frame: Frame, *, is_plain: bool) -> str:
    if is_plain:
        return "JPEG"
    return "CMYK JPEG" if frame.components == 4 else "JPEG of a rare kind"


def _is_progressive(source: Source, index: int, head: bytes) -> bool:
    return _find_frame(source, index, head).marker == 0xC2
