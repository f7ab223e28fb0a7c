"""TFRecord's frames, as the writer and the index need them; see `convert.formats.tfrecord`."""

import struct

import google_crc32c


def mask(crc: int) -> int:
    """TensorFlow's way to store a CRC of data that may hold CRCs themselves."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def has_sound_length(head: bytes) -> bool:
    """Whether a record begins here: its length, and the checksum of that.

    Args:
        head: 12 bytes or more.
    """
    return (
        len(head) >= 12
        and mask(google_crc32c.value(head[:8])) == struct.unpack_from("<I", head, 8)[0]
    )
