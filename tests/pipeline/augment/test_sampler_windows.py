"""The geometry of windows: always inside the picture, and the evaluation view as torchvision's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from swiftsiam.pipeline.augment.spec import AugmentSpec, Normalize, ResizeCenterCrop
from torchvision.transforms.v2 import functional as TF

_side = st.one_of(st.integers(1, 12), st.integers(1, 65_535))


def _eval_spec(size: int, resize: int) -> AugmentSpec:
    return AugmentSpec(ops=(ResizeCenterCrop(size=size, resize=resize), Normalize()))


def _assert_possible(params: np.ndarray, shape: tuple[int, int], size: int) -> None:
    for start, length, whole in (("top", "height", shape[0]), ("left", "width", shape[1])):
        assert (params[start] >= 0).all()
        assert (params[length] >= 1).all()
        assert (params[start] + params[length] <= whole).all()
        assert (params[f"offset_{start}"] >= 0).all()
        assert (params[f"offset_{start}"] + size <= params[f"resized_{length}"]).all()


@given(
    height=_side,
    width=_side,
    seed=st.integers(0, 2**64 - 1),
    low=st.floats(0.001, 1),
    ratio=st.floats(0.1, 1),
)
def test_random_windows_lie_inside_any_picture(
    draw: Callable[..., np.ndarray],
    crop_spec: Callable[..., AugmentSpec],
    height: int,
    width: int,
    seed: int,
    low: float,
    ratio: float,
) -> None:
    spec = crop_spec(scale=(low, 1.0), ratio=(ratio, 1 / ratio))
    params = draw(40, (height, width), spec, seed=seed)
    _assert_possible(params, (height, width), 32)
    assert (params["resized_height"] == 32).all()
    assert (params["resized_width"] == 32).all()


@given(height=_side, width=_side, size=st.integers(8, 512), more=st.integers(0, 64))
def test_evaluation_windows_lie_inside_any_picture(
    draw: Callable[..., np.ndarray], height: int, width: int, size: int, more: int
) -> None:
    params = draw(1, (height, width), _eval_spec(size, size + more))
    _assert_possible(params, (height, width), size)


@pytest.mark.parametrize("sizes", [(224, 256), (32, 32), (32, 35), (31, 40)])
@pytest.mark.parametrize(
    "shape", [(375, 500), (500, 375), (33, 47), (256, 256), (1, 1), (7, 3), (300, 1000), (499, 500)]
)
def test_evaluation_view_is_torchvisions_resize_and_center_crop(
    draw: Callable[..., np.ndarray], shape: tuple[int, int], sizes: tuple[int, int]
) -> None:
    size, resize = sizes
    params = draw(1, shape, _eval_spec(size, resize))[0]
    resized = TF.resize(torch.zeros((1, *shape)), [resize]).shape[1:]
    assert (params["resized_height"], params["resized_width"]) == tuple(resized)
    places = torch.arange(resized.numel()).reshape(1, *resized)
    first = int(TF.center_crop(places, [size])[0, 0, 0])
    assert (params["offset_top"], params["offset_left"]) == divmod(first, resized[1])
    assert tuple(params[["top", "left", "height", "width"]]) == (0, 0, *shape)
    assert not any(params[name] for name in ("jitter", "grayscale", "flip", "blur_sigma"))
