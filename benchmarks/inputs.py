"""What is loaded where nothing is given, and for how long."""

from collections.abc import Iterator
from pathlib import Path

from ..pipeline.contract import Batch
from ..pipeline.loader import Loader
from ..pipeline.machine import num_cores


def generate_pictures() -> Path:
    """The demo's pictures, of its usual number, in the working folder; made once."""
    from ..pipeline.demo.images import DEFAULT_NUM_IMAGES, generate

    made = generate(Path("demo-data"), num_images=DEFAULT_NUM_IMAGES, num_workers=num_cores())
    return Path(made.train)


def endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader
