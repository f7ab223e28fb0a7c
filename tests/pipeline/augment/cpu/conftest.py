"""Pictures, parameters, and the two ways to make a view of them: kernel and oracle."""

from collections.abc import Callable

import numpy as np
import pytest
from swiftsiam.pipeline.augment import reference
from swiftsiam.pipeline.augment.cpu import augment_view, make_constants, make_scratch
from swiftsiam.pipeline.augment.sampler import HUE, PARAMS, draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import AugmentSpec, Normalize


@pytest.fixture(scope="module", autouse=True)
def _single_thread(single_thread: None) -> None:
    """For the oracle."""


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., np.ndarray]:
    """(height, width, seed=0) → (H, W, 3) uint8: waves, hard-edged saturated patches, and noise."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width] / max(height, width)
        frequency, phase = rng.uniform(2, 30, (2, 3, 1, 1)), rng.uniform(0, 6, (3, 1, 1))
        waves = 128 + 90 * np.sin(frequency[0] * x + frequency[1] * y + phase)
        pixels = waves + rng.normal(0, 12, (3, height, width))
        for _ in range(6):
            top, left = rng.integers(0, height), rng.integers(0, width)
            bottom, right = rng.integers(top, height) + 1, rng.integers(left, width) + 1
            pixels[:, top:bottom, left:right] = rng.integers(0, 256, (3, 1, 1))
        return np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))

    return make


@pytest.fixture(scope="session")
def make_params() -> Callable[..., np.ndarray]:
    """(image, size, field=…) → one record: the whole picture resized, nothing else but `fields`."""

    def make(image: np.ndarray, size: int, **fields) -> np.ndarray:
        params = np.zeros(1, PARAMS)
        params["height"], params["width"] = image.shape[:2]
        params["resized_height"] = params["resized_width"] = size
        params["jitter_order"] = range(4)
        for name, value in fields.items():
            params[name] = value
        return params

    return make


@pytest.fixture(scope="session")
def make_jitter(make_params) -> Callable[..., np.ndarray]:
    """(image, size, {op: factor}, order=…) → one record; other operations are neutral."""

    def make(image: np.ndarray, size: int, factors: dict[int, float], order=range(4)) -> np.ndarray:
        values = [factors.get(op, 0.0 if op == HUE else 1.0) for op in range(4)]
        return make_params(image, size, jitter=1, jitter_factor=values, jitter_order=list(order))

    return make


@pytest.fixture(scope="session")
def draw_for() -> Callable[..., np.ndarray]:
    """(spec, images, seed=0) → the records of one view of each."""

    def draw(spec: AugmentSpec, images: list[np.ndarray], seed: int = 0) -> np.ndarray:
        return draw_views(
            pack_spec(spec),
            seed=seed,
            epoch=0,
            indices=np.arange(len(images)),
            view=0,
            heights=np.array([image.shape[0] for image in images]),
            widths=np.array([image.shape[1] for image in images]),
        )

    return draw


@pytest.fixture(scope="session")
def plain_constants() -> np.ndarray:
    """Normalised with these, a float32 view is the picture in [0, 1]."""
    return make_constants(Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))


@pytest.fixture(scope="session")
def run(plain_constants) -> Callable[..., np.ndarray]:
    """(image, params, size, dtype=float32) → (size, size, 3), by the kernel, not normalised."""

    def run(image: np.ndarray, params: np.ndarray, size: int, dtype=np.float32) -> np.ndarray:
        scratch = make_scratch(size=size, max_side=max(image.shape))
        out = np.full((1, size, size, 3), 77, dtype)
        assert augment_view(image, params, 0, scratch, plain_constants, out)
        return out[0]

    return run


@pytest.fixture(scope="session")
def run_oracle() -> Callable[..., np.ndarray]:
    """(image, params, size) → (size, size, 3) float64 in [0, 1]."""

    def run(image: np.ndarray, params: np.ndarray, size: int) -> np.ndarray:
        return reference.augment(image, params[0], size=size).permute(1, 2, 0).numpy()

    return run


@pytest.fixture(scope="session")
def error(run, run_oracle) -> Callable[..., float]:
    """(image, params, size) → mean absolute difference of kernel and oracle, of 255."""

    def error(image: np.ndarray, params: np.ndarray, size: int) -> float:
        return 255 * np.abs(run(image, params, size) - run_oracle(image, params, size)).mean()

    return error
