"""One outcome for every kind of picture, the documented one, on every engine."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.errors import BadSampleError
from swiftsiam.pipeline.sources import Source

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


def _save(pixels: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _jpeg(pixels: np.ndarray | Image.Image = RGB, **options: object) -> bytes:
    return _save(pixels, "JPEG", **({"quality": 90} | options))


def _frames(format: str, **options: object) -> bytes:
    others = [Image.fromarray(255 - RGB), Image.fromarray(255 - RGB[::-1])]
    return _save(RGB, format, save_all=True, append_images=others, **options)


def _pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _three(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(bits: int, kind: int, rows: bytes, *chunks: bytes, is_interlaced: bool = False) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, is_interlaced)
    pixels = _chunk(b"IDAT", zlib.compress(rows))
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return head + b"".join(chunks) + pixels + _chunk(b"IEND", b"")


def _rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def _interlaced() -> bytes:
    """Adam7's seven passes: first row and column, then steps."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    rows = b"".join(_rows(RGB[top::down, left::right]) for top, left, down, right in passes)
    return _png(8, 2, rows, is_interlaced=True)


def _animated() -> bytes:
    """Two frames, of which the picture for readers without animation is none."""
    png = _png(8, 2, _rows(RGB), _chunk(b"acTL", struct.pack(">II", 2, 0)))
    frames = []
    for number, pixels in enumerate((255 - RGB, RGB)):
        control = struct.pack(">5I2H2B", 2 * number, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
        frames.append(_chunk(b"fcTL", control))
        body = struct.pack(">I", 2 * number + 1) + zlib.compress(_rows(pixels))
        frames.append(_chunk(b"fdAT", body))
    return png[:-12] + b"".join(frames) + png[-12:]


def _colour_chunks() -> list[bytes]:
    return [
        _chunk(b"gAMA", struct.pack(">I", 220_000)),
        _chunk(b"cHRM", struct.pack(">8I", 3127, 3290, 64, 33, 30, 60, 15, 6)),
        _chunk(b"sBIT", b"\5\5\5"),
        _chunk(b"bKGD", bytes(6)),
    ]


def _tiff(rows: bytes, bits: int, *, form: int = 1, meaning: int = 1, order: str = "<") -> bytes:
    """One gray page, uncompressed, in one strip behind the header."""
    tags = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: meaning, 273: 8}
    tags |= {277: 1, 278: HEIGHT, 279: len(rows), 339: form}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(rows))
    # Numbers of 32 bits, which any tag may have.
    entries = [struct.pack(order + "HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags)]
    return head + rows + struct.pack(order + "H", len(tags)) + b"".join(entries) + bytes(4)


def _pack_12_bits(values: np.ndarray) -> bytes:
    bits = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 4:]
    return np.packbits(bits).tobytes()


def _lossless_jpeg() -> bytes:
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


def _with_bits(jpeg: bytes, bits: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 4
    return jpeg[:at] + bytes([bits]) + jpeg[at + 1 :]


def _as_ycck(cmyk: bytes) -> bytes:
    at = cmyk.index(b"Adobe") + 11
    return cmyk[:at] + b"\2" + cmyk[at + 1 :]


def _with_exif(jpeg: bytes) -> bytes:
    """EXIF whose directory has more entries than bytes."""
    body = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x1a\x01\x05\0\x01\0\0\0\xff\xff\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@cache
def _kinds() -> dict[str, tuple[bytes, np.ndarray | str]]:
    """Name → file, and its pixels or the reason why there are none."""
    jpeg, cmyk = _jpeg(), _jpeg(Image.fromarray(RGB).convert("CMYK"))
    palette = Image.fromarray(RGB).quantize(200)
    looked_up = np.asarray(palette.convert("RGB"))
    as_pillow = {
        "jpeg": jpeg,
        "jpeg 4:4:4": _jpeg(subsampling="4:4:4"),
        "jpeg 4:2:2": _jpeg(subsampling="4:2:2"),
        "jpeg progressive": _jpeg(progressive=True),
        "jpeg restarts": _jpeg(restart_marker_blocks=2),
        "jpeg gray": _jpeg(GRAY),
        "jpeg rgb": _jpeg(keep_rgb=True),
        "jpeg arithmetic": ARITHMETIC,
        "jpeg cmyk": cmyk,
        "jpeg ycck": _as_ycck(cmyk),
        "gif": _save(RGB, "GIF"),
        "gif frames": _frames("GIF"),
        "webp": _save(RGB, "WEBP"),
    }
    dark, bad = "defined brightness", "cannot be decoded"
    return {name: (data, _pillow(data)) for name, data in as_pillow.items()} | {
        "jpeg tail": (jpeg + b"junk" * 50, _pillow(jpeg)),
        "jpeg mpo": (_frames("MPO", quality=90), _pillow(jpeg)),
        "jpeg broken exif": (_with_exif(jpeg), _pillow(jpeg)),
        "jpeg lossless": (_lossless_jpeg(), _three(GRAY)),
        "jpeg 12 bits": (_with_bits(jpeg, 12), "a JPEG of 12 bits a sample"),
        "jpeg marker amid pixels": (jpeg[:-40] + b"\xff\xd8" + jpeg[-38:], "damaged JPEG: broken"),
        "jpeg cut": (jpeg[:-700], "damaged JPEG: it ends early"),
        "jpeg without end": (jpeg[:-2] + bytes(99), "damaged JPEG: it ends early"),
        "png 1 bit": (_save(Image.fromarray(GRAY > 99), "PNG"), _three(255 * (GRAY > 99))),
        "png palette": (_save(palette, "PNG"), looked_up),
        "png palette, transparent": (
            _save(palette, "PNG", transparency=bytes(range(200))),
            looked_up,
        ),
        "png colour key": (_save(RGB, "PNG", transparency=(0, 0, 255)), RGB),
        "png gray and alpha": (_save(ALPHA[..., 2:], "PNG"), _three(GRAY)),
        "png alpha": (_save(ALPHA, "PNG"), RGB),
        "png interlaced": (_interlaced(), RGB),
        "png colour chunks": (_png(8, 2, _rows(RGB), *_colour_chunks()), RGB),
        "png profile": (_save(RGB, "PNG", icc_profile=b"none"), RGB),
        "png animated": (_frames("PNG"), RGB),
        "png animated, other default": (_animated(), RGB),
        "png animated, no frames": (_png(8, 2, _rows(RGB), _chunk(b"acTL", bytes(8))), RGB),
        "png 16 bits": (_save(DEEP, "PNG"), _three(DEEP >> 8)),
        "png 16 bits, 12 significant": (
            _png(16, 0, _rows(DEEP.astype(">u2")), _chunk(b"sBIT", b"\x0c")),
            _three(DEEP >> 8),
        ),
        "png 12 bits in 16": (_save(TWELVE, "PNG"), _three(TWELVE >> 8)),
        "png 16 bits, colours": (_png(16, 2, _rows(RGB.astype(">u2") * 257)), RGB),
        "gif transparent": (_save(palette, "GIF", transparency=3), looked_up),
        "webp frames": (_frames("WEBP", lossless=True), RGB),
        "webp alpha": (_save(ALPHA, "WEBP", lossless=True, exact=True), RGB),
        "bmp": (_save(RGB, "BMP"), RGB),
        "pbm": (_save(Image.fromarray(GRAY > 99), "PPM"), _three(255 * (GRAY > 99))),
        "pgm": (_save(GRAY, "PPM"), _three(GRAY)),
        "pgm maxval 100": (
            b"P5 64 48 100\n" + (GRAY % 101).tobytes(),
            _three(np.rint(GRAY % 101 / 100 * 255)),
        ),
        "pgm 12 bits": (
            b"P5 64 48 4095\n" + TWELVE.astype(">u2").tobytes(),
            _three(np.rint(TWELVE / 4095 * 255)),
        ),
        "pgm 16 bits": (
            b"P5 64 48 65535\n" + DEEP.astype(">u2").tobytes(),
            _three(np.rint(DEEP / 65_535 * 255)),
        ),
        "pgm text, 12 bits": (
            b"P2 64 48 4095\n" + " ".join(map(str, TWELVE.ravel().tolist())).encode(),
            _three(np.rint(TWELVE / 4095 * 255)),
        ),
        "ppm 12 bits": (
            b"P6 64 48 4095\n" + (RGB.astype("u2") * 16).astype(">u2").tobytes(),
            np.rint(RGB * 16.0 / 4095 * 255).astype(np.uint8),
        ),
        "pfm": (b"Pf\n64 48\n-1.0\n" + GRAY.astype("<f4").tobytes(), f"floating.*{dark}"),
        "tiff": (_save(RGB, "TIFF"), RGB),
        "tiff pages": (_frames("TIFF"), RGB),
        "tiff 16 bits": (_tiff(DEEP.tobytes(), 16), _three(DEEP >> 8)),
        "tiff 16 bits, big-endian": (
            _tiff(DEEP.astype(">u2").tobytes(), 16, order=">"),
            _three(DEEP >> 8),
        ),
        "tiff 16 bits, white is zero": (
            _tiff(DEEP.tobytes(), 16, meaning=0),
            _three(255 - (DEEP >> 8)),
        ),
        "tiff 12 bits": (_tiff(_pack_12_bits(TWELVE), 12), _three(TWELVE >> 4)),
        "tiff float": (_tiff(GRAY.astype("<f4").tobytes(), 32, form=3), f"floating.*{dark}"),
        "tiff double": (_tiff(GRAY.astype("<f8").tobytes(), 64, form=3), bad),
        "tiff 32 bits": (_tiff(GRAY.astype("<u4").tobytes(), 32), f"32-bit.*{dark}"),
        "tiff signed 16 bits": (_tiff(DEEP.tobytes(), 16, form=2), f"signed.*{dark}"),
        "tiff signed 8 bits": (_tiff(GRAY.tobytes(), 8, form=2), f"signed.*{dark}"),
        "no picture": (b"no picture", bad),
    }


def _load(engine: str, source: Source) -> list[torch.Tensor | str]:
    """For each file its view, or the reason why there is none.

    Batches of one: a file that DALI fails at takes those beside it out of its hands.
    """
    specs = (build_eval_spec(AugmentConfig(size=40)),)
    loader = build_loader(
        source=source, specs=specs, global_batch_size=1, train=False, engine=engine
    )
    with loader:
        views = torch.cat([batch.views[0] for batch in loader])
        bad = {index: sample.reason for index, sample in loader.bad_samples.items()}
    return [bad.get(index, views[index]) for index in range(len(source))]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.engine(name))
        for name, info in ENGINES.items()
        if info.reads_pictures
    ],
)
def outcomes(
    request: pytest.FixtureRequest, listed: Callable[..., Source]
) -> dict[str, torch.Tensor | str]:
    """An engine's outcome for every kind."""
    files = (data for data, _ in _kinds().values())
    return dict(zip(_kinds(), _load(request.param, listed(*files)), strict=True))


@pytest.mark.parametrize("kind", _kinds())
def test_decode_rgb(kind: str) -> None:
    data, expected = _kinds()[kind]
    if isinstance(expected, str):
        with pytest.raises(BadSampleError, match=expected):
            decode_rgb(data)
    else:
        np.testing.assert_array_equal(decode_rgb(data), expected)


@pytest.mark.parametrize("kind", _kinds())
def test_engine(
    kind: str, outcomes: dict[str, torch.Tensor | str], listed: Callable[..., Source]
) -> None:
    data, expected = _kinds()[kind]
    outcome = outcomes[kind]
    if isinstance(expected, str):
        with pytest.raises(BadSampleError) as raised:
            decode_rgb(data)
        assert outcome == str(raised.value)
    else:
        (view,) = _load("torchvision", listed(_save(expected, "PNG")))
        assert isinstance(outcome, torch.Tensor), outcome
        assert torch.equal(outcome, view)
