"""The oracle is no more than torchvision's functional operations, one after the other."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from swiftsiam.pipeline.augment import reference
from swiftsiam.pipeline.augment.sampler import PARAMS
from swiftsiam.pipeline.augment.spec import AugmentSpec, Normalize, ResizeCenterCrop
from torchvision.transforms.v2 import functional as TF

pytestmark = pytest.mark.usefixtures("single_thread")

_SIZE = 24
_FACTORS = (0.7, 1.35, 0.62, 0.08)
_OPS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


@pytest.fixture(scope="module")
def picture(draw_picture: Callable[[int, int, int], np.ndarray]) -> np.ndarray:
    return draw_picture(5, 60, 80)


@pytest.fixture
def params() -> np.ndarray:
    """A crop and nothing else, shape (1,)."""
    params: Any = np.zeros(1, PARAMS)
    for name, value in (("top", 7), ("left", 11), ("height", 41), ("width", 52)):
        params[name] = value
    params["resized_height"] = params["resized_width"] = _SIZE
    params["jitter_order"] = range(4)
    params["jitter_factor"] = _FACTORS
    return params


def _floats(picture: np.ndarray) -> torch.Tensor:
    return TF.to_dtype(torch.from_numpy(picture).permute(2, 0, 1).contiguous(), torch.float64, True)


def _crop(picture: np.ndarray) -> torch.Tensor:
    return TF.resized_crop(_floats(picture), 7, 11, 41, 52, [_SIZE, _SIZE], antialias=True)


def _assert_close(pixels: torch.Tensor, wanted: torch.Tensor) -> None:
    assert pixels.shape == wanted.shape
    assert pixels.dtype == torch.float64
    torch.testing.assert_close(pixels, wanted, rtol=0, atol=1e-9)


def test_crop(picture: np.ndarray, params: np.ndarray) -> None:
    before = picture.copy()
    _assert_close(reference.augment(picture, params[0], size=_SIZE), _crop(picture))
    assert np.array_equal(picture, before)


def test_crop_is_pillows_within_its_rounding(picture: np.ndarray, params: np.ndarray) -> None:
    window = Image.fromarray(picture).crop((11, 7, 11 + 52, 7 + 41))
    resized = window.resize((_SIZE, _SIZE), Image.Resampling.BILINEAR)
    pixels = reference.augment(picture, params[0], size=_SIZE).permute(1, 2, 0).numpy()
    difference = np.abs(pixels * 255 - np.asarray(resized))
    assert difference.mean() < 0.4  # two roundings to uint8 cost 0.25 each at most
    assert difference.max() < 1.2


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_jitter_in_each_order(
    picture: np.ndarray, params: np.ndarray, order: tuple[int, ...]
) -> None:
    params["jitter"] = 1
    params["jitter_order"] = order
    wanted = _crop(picture)
    for op in order:
        wanted = _OPS[op](wanted, _FACTORS[op])
    _assert_close(reference.augment(picture, params[0], size=_SIZE), wanted)


def test_grayscale(picture: np.ndarray, params: np.ndarray) -> None:
    params["grayscale"] = 1
    wanted = TF.rgb_to_grayscale(_crop(picture), num_output_channels=3)
    _assert_close(reference.augment(picture, params[0], size=_SIZE), wanted)


@pytest.mark.parametrize("sigma", [0.1, 0.31, 1.0, 2.0, 7.5])
def test_blur_is_a_true_gaussian_with_replicated_edges(
    picture: np.ndarray, params: np.ndarray, sigma: float
) -> None:
    params["blur_sigma"] = sigma
    # Wider than ours: what both leave out is below 1e-8.
    wanted = ndimage.gaussian_filter(
        _crop(picture).numpy(), sigma, axes=(1, 2), mode="nearest", truncate=8
    )
    pixels = reference.augment(picture, params[0], size=_SIZE)
    np.testing.assert_allclose(pixels.numpy(), wanted, atol=1e-7)


def test_flip(picture: np.ndarray, params: np.ndarray) -> None:
    params["flip"] = 1
    wanted = TF.horizontal_flip(_crop(picture))
    _assert_close(reference.augment(picture, params[0], size=_SIZE), wanted)


def test_all_in_the_canonical_order(picture: np.ndarray, params: np.ndarray) -> None:
    for name, value in (("jitter", 1), ("grayscale", 1), ("flip", 1), ("blur_sigma", 1.3)):
        params[name] = value
    params["jitter_order"] = (3, 1, 0, 2)
    wanted = _crop(picture)
    for op in (3, 1, 0, 2):
        wanted = _OPS[op](wanted, _FACTORS[op])
    wanted = TF.rgb_to_grayscale(wanted, num_output_channels=3)
    blurred = ndimage.gaussian_filter(wanted.numpy(), 1.3, axes=(1, 2), mode="nearest", truncate=8)
    pixels = reference.augment(picture, params[0], size=_SIZE)
    np.testing.assert_allclose(pixels.numpy(), blurred[:, :, ::-1], atol=1e-7)


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (25, 90), (3, 5)])
def test_evaluation_view(
    draw: Callable[..., np.ndarray], draw_picture: Callable[..., np.ndarray], shape: tuple[int, int]
) -> None:
    spec = AugmentSpec(ops=(ResizeCenterCrop(size=_SIZE, resize=29), Normalize()))
    picture = draw_picture(1, *shape)
    resized = TF.resize(_floats(picture), [29], antialias=True)
    wanted = TF.center_crop(resized, [_SIZE])
    _assert_close(reference.augment(picture, draw(1, shape, spec)[0], size=_SIZE), wanted)
