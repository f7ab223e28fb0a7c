"""Runs of one engine, and files that are not plain."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.contract import EngineOptions, Request, Result
from swiftsiam.pipeline.sources import Source

SPECS = build_train_specs(AugmentConfig(size=24))
Stream = Callable[..., list[Result]]


@pytest.fixture
def stream() -> Iterator[Stream]:
    """(source, requested indices…, **options) → the results of one engine, closed at the end."""
    from swiftsiam.pipeline.engines.ffcv import engine as ffcv_engine

    engines = []

    def stream(
        source: Source, *batches: list[int], epoch: int = 0, **options: object
    ) -> list[Result]:
        defaults = {
            "source": source,
            "specs": SPECS,
            "seed": 3,
            "batch_size": max(map(len, batches)),
            "dtype": torch.float32,
            "device": torch.device("cpu"),
            "num_workers": 0,
            "max_bad_samples": None,
        }
        engines.append(ffcv_engine.build(EngineOptions(**(defaults | options))))
        requests = [Request(epoch, np.array(indices, np.int64)) for indices in batches]
        return list(engines[-1].stream(iter(requests)))

    yield stream
    for engine in engines:
        engine.close()


def damage_tables(jpeg: bytes) -> bytes:
    """A JPEG with sound headers at which DALI fails: with an impossible Huffman table."""
    table = jpeg.index(b"\xff\xc4") + 5
    return jpeg[:table] + b"\xff" * 16 + jpeg[table + 16 :]


@pytest.fixture
def odd_files(
    draw_picture: Callable[..., np.ndarray], encode: Callable[..., bytes]
) -> dict[str, bytes]:
    """Name → bytes of every kind of file that is not a plain JPEG."""
    pixels = draw_picture(3, 60, 70)
    picture = Image.fromarray(pixels)
    plain = encode(pixels)
    frame = plain.index(b"\xff\xc0")
    bomb = plain[: frame + 5] + b"\xff\xff\xff\xff" + plain[frame + 9 :]
    no_pixels = plain[: frame + 5] + b"\0\0" + plain[frame + 7 :]
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "bomb.jpg": bomb,
        "cmyk.jpg": encode(picture.convert("CMYK")),
        "cut.jpg": plain[: len(plain) // 2],
        "cut.png": encode(pixels, "PNG")[:900],
        "empty.jpg": b"",
        "exif.jpg": encode(picture, exif=turned),
        "gray.jpg": encode(picture.convert("L")),
        "header_alone.jpg": plain[:300] + b"\xff\xd9",
        "jpeg.png": plain,
        "junk.jpg": bytes(range(256)) * 4,
        "long.jpg": encode(draw_picture(4, 10, 20000)),
        "no_pixels.jpg": no_pixels,
        "one.jpg": encode(pixels[:1, :1]),
        "palette.png": encode(picture.convert("P"), "PNG"),
        "progressive.jpg": encode(picture, progressive=True),
        "really_png.jpg": encode(pixels, "PNG"),
        "rgba.png": encode(picture.convert("RGBA"), "PNG"),
        "sixteen.png": encode(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG"),
        "tail.jpg": plain + bytes(5000),
        "webp.webp": encode(pixels, "WEBP"),
    }
    files["tables.jpg"] = damage_tables(plain)
    damaged = bytearray(plain)
    damaged[-200:-100] = bytes(100)
    files["zeros.jpg"] = bytes(damaged)
    return files


@pytest.fixture
def odd_folder(tmp_path: Path, odd_files: dict[str, bytes], fill_folder: Callable) -> Path:
    """The odd files, each between two good ones."""
    fill_folder(tmp_path, {"a": 1})
    good = (tmp_path / "a/000.jpg").read_bytes()
    for name, data in odd_files.items():
        (tmp_path / "a" / name).write_bytes(data)
        (tmp_path / f"a/{name}_.jpg").write_bytes(good)
    return tmp_path
