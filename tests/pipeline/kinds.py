"""Files of every kind of picture, each with its documented outcome."""

from functools import cache

import numpy as np
from PIL import Image

from .encoders import (
    ALPHA,
    ARITHMETIC,
    DEEP,
    GRAY,
    RGB,
    TWELVE,
    animated_png,
    as_ycck,
    by_pillow,
    colour_chunks,
    frames_of,
    interlaced_png,
    jpeg_of,
    lossless_jpeg,
    pack_12_bits,
    png_chunk,
    png_of,
    png_rows,
    save,
    three_of,
    tiff_of,
    with_bits,
    with_exif,
)


@cache
def all_kinds() -> dict[str, tuple[bytes, np.ndarray | str]]:
    """Name → file, and its pixels or the reason why there are none."""
    jpeg, cmyk = jpeg_of(), jpeg_of(Image.fromarray(RGB).convert("CMYK"))
    palette = Image.fromarray(RGB).quantize(200)
    looked_up = np.asarray(palette.convert("RGB"))
    as_pillow = {
        "jpeg": jpeg,
        "jpeg 4:4:4": jpeg_of(subsampling="4:4:4"),
        "jpeg 4:2:2": jpeg_of(subsampling="4:2:2"),
        "jpeg progressive": jpeg_of(progressive=True),
        "jpeg restarts": jpeg_of(restart_marker_blocks=2),
        "jpeg gray": jpeg_of(GRAY),
        "jpeg rgb": jpeg_of(keep_rgb=True),
        "jpeg arithmetic": ARITHMETIC,
        "jpeg cmyk": cmyk,
        "jpeg ycck": as_ycck(cmyk),
        "gif": save(RGB, "GIF"),
        "gif frames": frames_of("GIF"),
        "webp": save(RGB, "WEBP"),
    }
    dark, bad = "defined brightness", "cannot be decoded"
    return {name: (data, by_pillow(data)) for name, data in as_pillow.items()} | {
        "jpeg tail": (jpeg + b"junk" * 50, by_pillow(jpeg)),
        "jpeg mpo": (frames_of("MPO", quality=90), by_pillow(jpeg)),
        "jpeg broken exif": (with_exif(jpeg), by_pillow(jpeg)),
        "jpeg lossless": (lossless_jpeg(), three_of(GRAY)),
        "jpeg 12 bits": (with_bits(jpeg, 12), "a JPEG of 12 bits a sample"),
        "jpeg marker amid pixels": (jpeg[:-40] + b"\xff\xd8" + jpeg[-38:], "damaged JPEG: broken"),
        "jpeg cut": (jpeg[:-700], "damaged JPEG: it ends early"),
        "jpeg without end": (jpeg[:-2] + bytes(99), "damaged JPEG: it ends early"),
        "png 1 bit": (save(Image.fromarray(GRAY > 99), "PNG"), three_of(255 * (GRAY > 99))),
        "png palette": (save(palette, "PNG"), looked_up),
        "png palette, transparent": (
            save(palette, "PNG", transparency=bytes(range(200))),
            looked_up,
        ),
        "png colour key": (save(RGB, "PNG", transparency=(0, 0, 255)), RGB),
        "png gray and alpha": (save(ALPHA[..., 2:], "PNG"), three_of(GRAY)),
        "png alpha": (save(ALPHA, "PNG"), RGB),
        "png interlaced": (interlaced_png(), RGB),
        "png colour chunks": (png_of(8, 2, png_rows(RGB), *colour_chunks()), RGB),
        "png profile": (save(RGB, "PNG", icc_profile=b"none"), RGB),
        "png animated": (frames_of("PNG"), RGB),
        "png animated, other default": (animated_png(), RGB),
        "png animated, no frames": (png_of(8, 2, png_rows(RGB), png_chunk(b"acTL", bytes(8))), RGB),
        "png 16 bits": (save(DEEP, "PNG"), three_of(DEEP >> 8)),
        "png 16 bits, 12 significant": (
            png_of(16, 0, png_rows(DEEP.astype(">u2")), png_chunk(b"sBIT", b"\x0c")),
            three_of(DEEP >> 8),
        ),
        "png 12 bits in 16": (save(TWELVE, "PNG"), three_of(TWELVE >> 8)),
        "png 16 bits, colours": (png_of(16, 2, png_rows(RGB.astype(">u2") * 257)), RGB),
        "gif transparent": (save(palette, "GIF", transparency=3), looked_up),
        "webp frames": (frames_of("WEBP", lossless=True), RGB),
        "webp alpha": (save(ALPHA, "WEBP", lossless=True, exact=True), RGB),
        "bmp": (save(RGB, "BMP"), RGB),
        "pbm": (save(Image.fromarray(GRAY > 99), "PPM"), three_of(255 * (GRAY > 99))),
        "pgm": (save(GRAY, "PPM"), three_of(GRAY)),
        "pgm maxval 100": (
            b"P5 64 48 100\n" + (GRAY % 101).tobytes(),
            three_of(np.rint(GRAY % 101 / 100 * 255)),
        ),
        "pgm 12 bits": (
            b"P5 64 48 4095\n" + TWELVE.astype(">u2").tobytes(),
            three_of(np.rint(TWELVE / 4095 * 255)),
        ),
        "pgm 16 bits": (
            b"P5 64 48 65535\n" + DEEP.astype(">u2").tobytes(),
            three_of(np.rint(DEEP / 65_535 * 255)),
        ),
        "pgm text, 12 bits": (
            b"P2 64 48 4095\n" + " ".join(map(str, TWELVE.ravel().tolist())).encode(),
            three_of(np.rint(TWELVE / 4095 * 255)),
        ),
        "ppm 12 bits": (
            b"P6 64 48 4095\n" + (RGB.astype("u2") * 16).astype(">u2").tobytes(),
            np.rint(RGB * 16.0 / 4095 * 255).astype(np.uint8),
        ),
        "pfm": (b"Pf\n64 48\n-1.0\n" + GRAY.astype("<f4").tobytes(), f"floating.*{dark}"),
        "tiff": (save(RGB, "TIFF"), RGB),
        "tiff pages": (frames_of("TIFF"), RGB),
        "tiff 16 bits": (tiff_of(DEEP.tobytes(), 16), three_of(DEEP >> 8)),
        "tiff 16 bits, big-endian": (
            tiff_of(DEEP.astype(">u2").tobytes(), 16, order=">"),
            three_of(DEEP >> 8),
        ),
        "tiff 16 bits, white is zero": (
            tiff_of(DEEP.tobytes(), 16, meaning=0),
            three_of(255 - (DEEP >> 8)),
        ),
        "tiff 12 bits": (tiff_of(pack_12_bits(TWELVE), 12), three_of(TWELVE >> 4)),
        "tiff float": (tiff_of(GRAY.astype("<f4").tobytes(), 32, form=3), f"floating.*{dark}"),
        "tiff double": (tiff_of(GRAY.astype("<f8").tobytes(), 64, form=3), bad),
        "tiff 32 bits": (tiff_of(GRAY.astype("<u4").tobytes(), 32), f"32-bit.*{dark}"),
        "tiff signed 16 bits": (tiff_of(DEEP.tobytes(), 16, form=2), f"signed.*{dark}"),
        "tiff signed 8 bits": (tiff_of(GRAY.tobytes(), 8, form=2), f"signed.*{dark}"),
        "no picture": (b"no picture", bad),
    }
