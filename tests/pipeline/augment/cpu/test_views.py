"""Whole views, their sizes, and their dtypes, against the oracle and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.cpu import (
    ViewKernel,
    as_pixels,
    augment_view,
    make_constants,
    make_scratch,
)
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    Normalize,
    RandomResizedCrop,
    build_eval_spec,
    build_train_specs,
)


@pytest.mark.parametrize(
    ("preset", "size", "count", "sides"),
    [
        ("imagenet", 224, 16, (150, 600)),
        ("imagenet", 96, 40, (30, 300)),
        ("cifar", 32, 60, (32, 33)),
    ],
)
def test_whole_views(make_picture, draw_for, error, preset, size, count, sides):
    spec, _ = build_train_specs(AugmentConfig(preset=preset, size=size))
    shapes = np.random.default_rng(1).integers(*sides, (count, 2))
    images = [make_picture(*shape, seed) for seed, shape in enumerate(shapes)]
    params = draw_for(spec, images)
    assert {0, 1} == set(params["jitter"]) == set(params["grayscale"]) == set(params["flip"])
    errors = [error(image, params[i : i + 1], size) for i, image in enumerate(images)]
    assert np.mean(errors) < 0.04
    assert np.max(errors) < 0.1


def test_normalised(make_picture, make_params, run_oracle):
    image = make_picture(60, 70)
    params, normalize = make_params(image, 33), Normalize()
    out = np.empty((1, 33, 33, 3), np.float32)
    assert augment_view(image, params, 0, make_scratch(size=33), make_constants(normalize), out)
    expected = (run_oracle(image, params, 33) - normalize.mean) / normalize.std
    assert np.abs(out[0] - expected).mean() < 0.05 / 255 / 0.225


@pytest.mark.parametrize("size", [8, 9, 15, 16, 31, 32, 33, 64, 96, 100, 224])
def test_sizes(make_picture, make_params, error, size):
    fields = {"jitter": 1, "jitter_factor": (1.3, 0.7, 1.2, 0.1), "flip": 1, "blur_sigma": 1.1}
    for height, width in ((size, size), (47, 61), (300, 230)):
        image = make_picture(height, width)
        assert error(image, make_params(image, size, **fields), size) < 0.08


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 2), (1, 50), (50, 1), (3, 7), (20000, 10), (10, 20000), (1, 9000), (1000, 900)],
)
@pytest.mark.parametrize("size", [8, 40])
def test_pictures_of_any_shape(make_picture, make_params, error, height, width, size):
    image = make_picture(height, width)
    assert error(image, make_params(image, size), size) < 0.05
    assert error(image, make_params(image, size, flip=1, blur_sigma=1.0), size) < 0.05


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("extent", [5, 64, 900, 2500])
def test_flat_pictures_stay_flat(make_params, run, value, extent):
    image = np.full((extent, extent, 3), value, np.uint8)
    plain = run(image, make_params(image, 32), 32)
    blurred = run(image, make_params(image, 32, blur_sigma=16.0), 32)
    assert np.abs(plain * 255 - value).max() < 0.05
    assert np.abs(blurred * 255 - value).max() < 0.15
    assert (run(image, make_params(image, 32), 32, np.uint8) == value).all()


def test_crops_match_pillow(make_picture, draw_for, run):
    image = make_picture(400, 500)
    spec = AugmentSpec(ops=(RandomResizedCrop(size=64), Normalize()))
    errors = []
    for record in draw_for(spec, [image] * 40):
        top, left, height, width = (int(record[k]) for k in ("top", "left", "height", "width"))
        box = (left, top, left + width, top + height)
        pillow = Image.fromarray(image).crop(box).resize((64, 64), Image.Resampling.BILINEAR)
        crop = run(image, record[None], 64, np.uint8)
        errors.append(np.abs(crop.astype(int) - np.asarray(pillow)).mean())
    assert np.mean(errors) < 0.3
    assert np.max(errors) < 0.5


@pytest.mark.parametrize("preset", ["imagenet", "cifar"])
def test_evaluation_views(make_picture, draw_for, error, preset):
    spec = build_eval_spec(AugmentConfig(preset=preset, size=64))
    shapes = ((200, 300), (300, 200), (64, 64), (50, 51), (3, 900), (900, 3))
    images = [make_picture(*shape) for shape in shapes]
    params = draw_for(spec, images)
    assert (params["offset_left"] > 0).any()
    for i, image in enumerate(images):
        assert error(image, params[i : i + 1], 64) < 0.05


def test_bfloat16_is_float32_rounded(make_picture, draw_for):
    images = [make_picture(70, 90, seed) for seed in range(12)]
    spec, _ = build_train_specs(AugmentConfig(size=40))
    params = draw_for(spec, images)
    exact = torch.empty((12, 3, 40, 40)).to(memory_format=torch.channels_last)
    rounded = exact.to(torch.bfloat16)
    kernel = ViewKernel(spec)
    kernel.augment(images, params, as_pixels(exact))
    kernel.augment(images, params, as_pixels(rounded))
    assert torch.equal(exact.bfloat16().view(torch.int16), rounded.view(torch.int16))


def test_bytes_are_the_crop_alone(make_picture, make_params, run, run_oracle):
    image = make_picture(90, 80)
    crop = {"top": 5, "left": 7, "height": 70, "width": 60, "flip": 1}
    colour = {"jitter": 1, "jitter_factor": (1.4, 1.4, 1.4, 0.1), "grayscale": 1, "blur_sigma": 1.0}
    alone = run(image, make_params(image, 40, **crop), 40, np.uint8)
    assert (alone == run(image, make_params(image, 40, **crop, **colour), 40, np.uint8)).all()
    expected = 255 * run_oracle(image, make_params(image, 40, **crop), 40)
    assert (np.abs(alone - expected) < 0.6).all()  # 0.5 is rounding's own
