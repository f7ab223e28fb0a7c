"""One small picture in every kind of file, those that Pillow does not write among them."""

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64

# A JPEG with arithmetic coding, 16 by 16 px, which Pillow reads and does not write.
ARITHMETIC = base64.b85decode(
    "|JeWF01!$>Nk#wx0RR9200961|JwjV01yid4h#wq4h;?x5fBp?C>j_R78o%jB^@X_Gd(;xGdMRuNL)@pL{~*OI8bd-S6"
    "^ahXlFi6ad~iLcwA*?WB=O#Lje&I5*QU2FB%#zV?sDWV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1u"
    "V`F1uV`F1uV`Klx01*fP5C9MZ0U`hb5di}c0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zfzEj8o(yeuVt3;SaNwh@W}1^T"
    "KF+8p$N|Je"
)


def _draw() -> np.ndarray:
    """Gradients with a noisy corner, (HEIGHT, WIDTH, 3) uint8."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    picture = np.stack([4 * x, 5 * y, 255 - 2 * (x + y)], axis=2).astype(np.uint8)
    picture[24:, 32:] = np.random.default_rng(0).integers(0, 256, (24, 32, 3))
    return picture


RGB = _draw()
GRAY = RGB[..., 2]
DEEP = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 21  # up to 64,491
TWELVE = DEEP >> 4
ALPHA = np.dstack([RGB, RGB[..., 0]])


def save(pixels: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg_of(pixels: np.ndarray | Image.Image = RGB, **options: object) -> bytes:
    return save(pixels, "JPEG", **({"quality": 90} | options))


def frames_of(format: str, **options: object) -> bytes:
    others = [Image.fromarray(255 - RGB), Image.fromarray(255 - RGB[::-1])]
    return save(RGB, format, save_all=True, append_images=others, **options)


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def three_of(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(bits: int, kind: int, rows: bytes, *chunks: bytes, is_interlaced: bool = False) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, is_interlaced)
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    head = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return head + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


def png_rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def interlaced_png() -> bytes:
    """Adam7's seven passes: first row and column, then steps."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    rows = b"".join(png_rows(RGB[top::down, left::right]) for top, left, down, right in passes)
    return png_of(8, 2, rows, is_interlaced=True)


def animated_png() -> bytes:
    """Two frames, of which the picture for readers without animation is none."""
    png = png_of(8, 2, png_rows(RGB), png_chunk(b"acTL", struct.pack(">II", 2, 0)))
    frames = []
    for number, pixels in enumerate((255 - RGB, RGB)):
        control = struct.pack(">5I2H2B", 2 * number, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
        frames.append(png_chunk(b"fcTL", control))
        body = struct.pack(">I", 2 * number + 1) + zlib.compress(png_rows(pixels))
        frames.append(png_chunk(b"fdAT", body))
    return png[:-12] + b"".join(frames) + png[-12:]


def colour_chunks() -> list[bytes]:
    return [
        png_chunk(b"gAMA", struct.pack(">I", 220_000)),
        png_chunk(b"cHRM", struct.pack(">8I", 3127, 3290, 64, 33, 30, 60, 15, 6)),
        png_chunk(b"sBIT", b"\5\5\5"),
        png_chunk(b"bKGD", bytes(6)),
    ]


def tiff_of(rows: bytes, bits: int, *, form: int = 1, meaning: int = 1, order: str = "<") -> bytes:
    """One gray page, uncompressed, in one strip behind the header."""
    tags = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: meaning, 273: 8}
    tags |= {277: 1, 278: HEIGHT, 279: len(rows), 339: form}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(rows))
    # Numbers of 32 bits, which any tag may have.
    entries = [struct.pack(order + "HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags)]
    return head + rows + struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4)


def pack_12_bits(values: np.ndarray) -> bytes:
    bits = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 4:]
    return np.packbits(bits).tobytes()


def lossless_jpeg() -> bytes:
    """SOF3 with the left neighbour as predictor; all lengths of differences have 4-bit codes."""
    header = struct.pack(">BHHBBBB", 8, HEIGHT, WIDTH, 1, 1, 0x11, 0)
    table = b"\0" + bytes((0, 0, 0, 9, *[0] * 12)) + bytes(range(9))
    values = GRAY.astype(int)
    above = np.concatenate([[128], values[:-1, 0]])
    differences = np.diff(values, axis=1, prepend=above[:, None])
    bits = ""
    for difference in differences.ravel().tolist():
        length = abs(difference).bit_length()
        bits += f"{length:04b}"
        if length:
            bits += f"{difference if difference > 0 else difference + 2**length - 1:0{length}b}"
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    segments = ((0xC3, header), (0xC4, table), (0xDA, b"\1\1\0\1\0\0"))
    parts = [struct.pack(">BBH", 255, marker, len(body) + 2) + body for marker, body in segments]
    return b"\xff\xd8" + b"".join(parts) + coded + b"\xff\xd9"


def with_bits(jpeg: bytes, bits: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 4
    return jpeg[:at] + bytes([bits]) + jpeg[at + 1 :]


def as_ycck(cmyk: bytes) -> bytes:
    at = cmyk.index(b"Adobe") + 11
    return cmyk[:at] + b"\2" + cmyk[at + 1 :]


def with_exif(jpeg: bytes) -> bytes:
    """EXIF whose directory has more entries than bytes."""
    body = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x1a\x01\x05\0\x01\0\0\0\xff\xff\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
