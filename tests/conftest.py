"""Shared by all tests: what may be skipped, and small folders of pictures."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def watch() -> Iterator[Any]:
    """All tensors of a test are fakes: "cuda" needs no driver, and there are no data.

    What mixes devices raises, and so does what needs a value on the host: `.item()`, `.tolist()`,
    `bool(tensor)`, a choice by a mask. The waits that raise nothing, copies to the host and indices
    that lie there, are written into `waits`, which must be empty when the test ends; `products`
    has the shape of every product of two matrices.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def devices_of(tree: object) -> set[str]:
        """Of all tensors but the scalars on the host, which any operation takes."""
        tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
        return {each.device.type for each in tensors if each.ndim or each.device.type != "cpu"}

    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.products: list[tuple[int, ...]] = []
            self.waits: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if func in (torch.ops.aten.mm.default, torch.ops.aten.matmul.default):
                self.products.append(tuple(made.shape))
            given = devices_of((args, kwargs))
            if len(given) > 1 or ("cuda" in given and "cpu" in devices_of(made)):
                self.waits.append(str(func))
            return made

    with FakeTensorMode(allow_non_fake_inputs=True), Watch() as watch:
        yield watch
    assert not watch.waits
