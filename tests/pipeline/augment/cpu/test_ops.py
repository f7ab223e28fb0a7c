"""Each operation by itself, over more than the range that the presets draw from."""

import itertools

import numpy as np
import pytest
from numba import njit
from swiftsiam.pipeline.augment.cpu import make_scratch
from swiftsiam.pipeline.augment.cpu.resize import find_taps
from swiftsiam.pipeline.augment.sampler import BRIGHTNESS, CONTRAST, HUE, SATURATION

SIZE = 40


@pytest.fixture(scope="session")
def image(make_picture) -> np.ndarray:
    return make_picture(50, 60)


def test_taps():
    find = njit(lambda *args: find_taps(*args))  # parts of the kernel have no wrapper for Python
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = int(rng.integers(8, 70))
        extent = int(np.exp(rng.uniform(0, 9)))
        resized = size + int(rng.choice([0, rng.integers(0, 4000)]))
        skip = int(rng.integers(0, resized - size + 1))
        scratch = make_scratch(size=size, max_side=extent)
        used = find(extent, resized, skip, 0, 0, scratch.taps, scratch.weights)
        assert used <= scratch.weights.size // 2
        start, count, first = scratch.taps[0].T
        assert (start >= start[0]).all()
        assert (start + count <= start[-1] + count[-1]).all()
        assert 0 <= start[0] < start[-1] + count[-1] <= extent
        for num_taps, position in zip(count, first, strict=True):
            weights = scratch.weights[position : position + num_taps].astype(np.int64)
            assert weights.sum() == (65535 if num_taps == 1 else 65536), (extent, resized)
            assert weights[0] > 0
            assert weights[-1] > 0


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.6, 1.0, 1.001, 1.4, 1.8, 3.0, 7.5])
@pytest.mark.parametrize("op", [BRIGHTNESS, CONTRAST, SATURATION])
def test_factors(image, make_jitter, error, op, factor):
    assert error(image, make_jitter(image, SIZE, {op: factor}), SIZE) < 0.06


@pytest.mark.parametrize("turns", [-0.5, -0.31, -0.1, -0.01, 0.0, 0.05, 0.1, 0.25, 0.5])
def test_hue(image, make_jitter, error, turns):
    assert error(image, make_jitter(image, SIZE, {HUE: turns}), SIZE) < 0.08


@pytest.mark.parametrize("turns", np.linspace(-0.5, 0.5, 21))
def test_hue_of_all_corners(make_jitter, run, run_oracle, turns):
    corners = list(itertools.product((0, 1, 127, 128, 254, 255), repeat=3))
    image = np.resize(np.array(corners, np.uint8), (16, 16, 3))
    params = make_jitter(image, 16, {HUE: turns})
    difference = np.abs(run(image, params, 16) - run_oracle(image, params, 16))
    assert 255 * difference.max() < 0.5


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_orders(image, make_jitter, run, run_oracle, order):
    factors = {BRIGHTNESS: 1.35, CONTRAST: 0.65, SATURATION: 1.4, HUE: 0.09}
    expected = run_oracle(image, make_jitter(image, SIZE, factors, order), SIZE)
    view = run(image, make_jitter(image, SIZE, factors, order), SIZE)
    reverse = run(image, make_jitter(image, SIZE, factors, order[::-1]), SIZE)
    assert 255 * np.abs(view - expected).mean() < 0.08
    assert 255 * np.abs(reverse - expected).mean() > 0.2


@pytest.mark.parametrize("jitter", [0, 1])
def test_grayscale(image, make_jitter, run, error, jitter):
    params = make_jitter(image, SIZE, {CONTRAST: 1.3, HUE: 0.1})
    params["grayscale"], params["jitter"] = 1, jitter
    view = run(image, params, SIZE)
    assert error(image, params, SIZE) < 0.06
    assert (view[..., 0] == view[..., 1]).all()
    assert (view[..., 0] == view[..., 2]).all()


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.35, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 11.0, 16.0])
@pytest.mark.parametrize("size", [8, SIZE])
def test_blur(image, make_params, error, sigma, size):
    assert error(image, make_params(image, size, blur_sigma=sigma), size) < 0.15


@pytest.mark.parametrize("size", [33, 64])
def test_flip_mirrors(image, make_params, run, size):
    fields = {"jitter": 1, "jitter_factor": (1.2, 0.8, 1.3, 0.1), "blur_sigma": 0.9}
    view = run(image, make_params(image, size, **fields), size)
    flipped = run(image, make_params(image, size, flip=1, **fields), size)
    assert (flipped == view[:, ::-1]).all()
    assert not (flipped == view).all()
