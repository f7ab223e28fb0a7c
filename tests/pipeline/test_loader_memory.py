"""Epochs take no memory, on any engine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import theilslopes

pytestmark = pytest.mark.slow

# glibc keeps holes between blocks of many sizes, and the process grows until they are of a use: by
# 15 MB (torchvision, two workers) to 40 MB (dali) over the first thousand pictures of this test,
# then no more. So settled, each picture's block goes back to the system, and only what is kept by
# mistake adds up.
_SETTLED = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}
_EPOCHS, _WARM_UP = 33, 3  # leaves three parts of ten epochs
_LIMIT_MB = 0.1  # an epoch; a batch of views that is kept in each would be 1.6 MB in all but raw


@pytest.fixture(scope="module")
def many_sizes(
    tmp_path_factory: pytest.TempPathFactory, draw_picture: Callable[[int, int, int], np.ndarray]
) -> Path:
    """48 JPEGs of 200 to 600 px a side."""
    folder = tmp_path_factory.mktemp("sizes")
    (folder / "a").mkdir()
    sides = np.random.default_rng(0).integers(200, 600, (48, 2))
    for number, (height, width) in enumerate(sides.tolist()):
        picture = Image.fromarray(draw_picture(number, height, width))
        picture.save(folder / "a" / f"{number}.jpg")
    return folder


@pytest.mark.slow
def test_memory_does_not_grow_over_epochs(many_sizes: Path, engine: str) -> None:
    _assert_level(many_sizes, engine)


@pytest.mark.slow
@pytest.mark.engine("ffcv", formats=("beton",))
def test_memory_does_not_grow_over_epochs_of_a_beton(betons: dict[str, Path]) -> None:
    _assert_level(betons["mixed"], "ffcv")


@pytest.mark.slow
def test_whole_batches_leave_no_holes_in_the_heap(many_sizes: Path, process_engine: str) -> None:
    """As a user's machine has it, nothing settled: a view of a batch takes 19 MB. (Threads of one
    process come to rest after a dozen epochs more.)
    """
    figures = _measure(
        many_sizes, process_engine, epochs=10, batch_size=32, size=224, settled=False
    )
    grown = figures[-1] - figures[3]
    assert grown < 2 * 38, figures  # and not by both views of each of six epochs


def _assert_level(data: Path, engine: str) -> None:
    figures = _measure(data, engine, epochs=_EPOCHS, batch_size=8, size=64, settled=True)[_WARM_UP:]
    # A leak adds up all the time; a buffer that comes to a use late (dali: 4 MB, in any epoch)
    # adds to one of the parts. The median of the slopes between all pairs minds no single epoch.
    slopes = [
        theilslopes(part, np.arange(len(part))).slope for part in np.split(np.array(figures), 3)
    ]
    assert min(slopes) <= _LIMIT_MB, f"{np.round(slopes, 3)} MB an epoch: {figures}"


def _measure(
    data: Path, engine: str, *, epochs: int, batch_size: int, size: int, settled: bool
) -> list[float]:
    script = Path(__file__).with_name("measure_memory.py")
    told = map(str, (epochs, 2, batch_size, size))
    done = subprocess.run(
        [sys.executable, script, data, engine, *told],
        env=os.environ | (_SETTLED if settled else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
