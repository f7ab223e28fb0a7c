"""Folders of all kinds of pictures, and conversions of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.convert.contract import Options
from swiftsiam.pipeline.convert.driver import Outcome, convert
from swiftsiam.pipeline.convert.formats import FORMATS
from swiftsiam.pipeline.progress import show_nothing
from swiftsiam.pipeline.sources import open_source

MAGIC = bytes.fromhex("0a23d7ce")


def run(source: Path, target: Path, to: str, **settings: object) -> Outcome:
    """Convert; a setting that is no option of `convert` is one of `Options`."""
    ours = {"num_workers": 1, "resume": False, "progress": show_nothing, "tell": lambda text: None}
    given = {name: settings.pop(name) for name in list(settings) if name in ours}
    options = Options(to=to, **settings)
    return convert(open_source(source), target, options=options, **(ours | given))


@pytest.fixture(scope="session")
def convert_to() -> Callable[..., Outcome]:
    """(source, target, format, **settings) → outcome."""
    return run


@pytest.fixture(params=FORMATS)
def to(request: pytest.FixtureRequest) -> str:
    """Each format."""
    return request.param


def target_name(to: str) -> str:
    return "set.beton" if to == "beton" else f"{to}-set"


@pytest.fixture(scope="session")
def kinds_folder(
    tmp_path_factory: pytest.TempPathFactory,
    encode: Callable[..., bytes],
    draw_picture: Callable[..., np.ndarray],
) -> Path:
    """18 good pictures in two classes: plain ones, and kinds that need a second look."""
    root = tmp_path_factory.mktemp("kinds")
    picture = draw_picture(0, 40, 56)
    image = Image.fromarray(picture)
    jpeg = encode(picture)
    comment = MAGIC * 2 + b"x" * 6 + MAGIC  # where it lies depends on the bytes in front
    with_magic = [
        jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]
        for text in (b"ab" + comment, b"abc" + comment, b"ab" + MAGIC)
    ]
    files = {
        "one/a plain.jpg": jpeg,
        "one/gray.jpg": encode(image.convert("L")),
        "one/progressive.JPEG": encode(picture, progressive=True),
        "one/cmyk.jpg": encode(image.convert("CMYK")),
        "one/really.png.jpg": encode(picture, "PNG"),
        "one/junk behind.jpg": jpeg + b"junk" * 3,
        "one/größe.jpg": encode(draw_picture(1, 33, 47)),
        "one/magic_cut.jpg": with_magic[0],
        "one/magic_aside.jpg": with_magic[1],
        "one/magic_once.jpg": with_magic[2],
        "two/plain.png": encode(picture, "PNG"),
        "two/gray.png": encode(image.convert("L"), "PNG"),
        "two/palette.png": encode(image.convert("P"), "PNG"),
        "two/picture.webp": encode(picture, "WEBP", lossless=True),
        "two/picture.bmp": encode(picture, "BMP"),
        "two/large.jpg": encode(draw_picture(2, 300, 500), quality=95),
        "two/one.jpg": encode(picture[:1, :1]),
        "two/exif.jpg": encode(picture, exif=b"Exif\0\0" + bytes(9000)),
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture(scope="session")
def converted(kinds_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Format → `kinds_folder` in it, in several shards. Not to be changed."""
    root = tmp_path_factory.mktemp("converted")
    paths = {}
    for name in FORMATS:
        paths[name] = root / target_name(name)
        run(kinds_folder, paths[name], name, shard_size=40_000)
    return paths
