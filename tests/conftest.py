"""Shared by all tests: what may be skipped, and small folders of pictures."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from PIL import Image
from swiftsiam.pipeline.engines import ENGINES

# Timed out by pytest alone: the first example often compiles. The same examples on every run.
settings.register_profile(
    "swiftsiam",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is
)
settings.load_profile("swiftsiam")
# Of those examples are numbers that stand in our modules, in as many as are imported by then: in
# another order of the tests they would be others.
providers._get_local_constants = lambda: providers._local_constants

SIZES = ((48, 64), (64, 48), (50, 50), (37, 90), (120, 33))
"""Heights and widths of the generated pictures."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run; fail where REQUIRE_ENGINES or REQUIRE_GPU asks for it."""
    required = os.environ.get("REQUIRE_ENGINES", "").split(",")
    for marker in item.iter_markers("engine"):
        (name,) = marker.args
        for need in ENGINES[name].missing(marker.kwargs.get("formats", ())):
            reason = f"{need.name} is not installed, which the {name} engine needs"
            _skip_or_fail(reason, required=name in required)
    for marker, needed in (("gpu", 1), ("multi_gpu", 2)):
        if item.get_closest_marker(marker) and _num_gpus() < needed:
            wanted = int(os.environ.get("REQUIRE_GPU") or 0)
            _skip_or_fail(f"{_num_gpus()} of {needed} CUDA devices", required=wanted >= needed)


def _skip_or_fail(reason: str, *, required: bool) -> None:
    if required:
        pytest.fail(f"{reason}, but this run requires it", pytrace=False)
    pytest.skip(reason)


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _draw_picture(seed: int, height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    corner = random.uniform(20, 235, (4, 1, 1, 3))
    picture = (
        (1 - y) * ((1 - x) * corner[0] + x * corner[1])
        + y * ((1 - x) * corner[2] + x * corner[3])
    )  # fmt: skip
    for _ in range(3):
        top, left = random.integers(0, (height, width))
        patch = picture[top : top + height // 3, left : left + width // 3]
        patch[:] = random.uniform(0, 255, 3)
    noisy = picture[height // 2 :, width // 2 :]
    noisy += random.normal(0, 20, noisy.shape)
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def single_thread() -> Iterator[None]:
    """One thread in torch: small tensors suffer from more, most of all on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def draw_picture() -> Callable[[int, int, int], np.ndarray]:
    """(seed, height, width) → (H, W, 3) uint8: smooth gradients, hard edges, a noisy corner."""
    return _draw_picture


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """(pixels, format="JPEG", **options of Pillow's save) → bytes."""

    def encode(pixels: np.ndarray | Image.Image, format: str = "JPEG", **options: object) -> bytes:
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def fill_folder(encode: Callable[..., bytes]) -> Callable[..., Path]:
    """(root, {class name: number of pictures}) → root, with JPEGs of several sizes."""

    def fill_folder(root: Path, counts: dict[str, int]) -> Path:
        seed = 0
        for name, count in counts.items():
            (root / name).mkdir(parents=True)
            for number in range(count):
                pixels = _draw_picture(seed, *SIZES[seed % len(SIZES)])
                (root / name / f"{number:03}.jpg").write_bytes(encode(pixels, quality=90))
                seed += 1
        return root

    return fill_folder


@pytest.fixture(scope="session")
def class_folder(
    tmp_path_factory: pytest.TempPathFactory, fill_folder: Callable[..., Path]
) -> Path:
    """23 JPEGs in three class folders. Not to be changed."""
    return fill_folder(tmp_path_factory.mktemp("classes"), {"ant": 9, "bee": 8, "cat": 6})
