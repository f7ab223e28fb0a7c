"""Crops made by DALI, as on a GPU: of which the delivery makes the same views."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.augment.sampler import draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AugmentSpec,
    Normalize,
    RandomResizedCrop,
)
from swiftsiam.pipeline.sources import open_source

from .dali_runs import (
    EVAL,
    SIZE,
    TRAIN,
    by_dalis_crops,
    by_torchvision,
    errors_per_image,
    names,
    options_for,
    requests,
)

pytestmark = pytest.mark.engine("dali")


@pytest.mark.parametrize("specs", [TRAIN, EVAL], ids=["train", "eval"])
def test_crops_made_by_dali(class_folder: Path, specs: tuple[AugmentSpec, ...]) -> None:
    source = open_source(class_folder)
    options = options_for(source, specs=specs)
    ours = by_dalis_crops(options, requests(len(source)))
    errors = errors_per_image(ours, by_torchvision(options, requests(len(source))))
    assert errors.mean() < 0.5
    assert errors.max() < 1.0


def test_crops_are_as_pillows(class_folder: Path) -> None:
    spec = AugmentSpec(ops=(RandomResizedCrop(size=SIZE), Normalize()))
    source = open_source(class_folder)
    options = options_for(source, specs=(spec,))
    (result,) = by_dalis_crops(options, requests(len(source), len(source)))
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    errors = []
    for index in range(len(source)):
        with Image.open(f"{class_folder}/{source.key(index)}") as image:
            (box,) = draw_views(
                pack_spec(spec),
                seed=7,
                epoch=2,
                indices=np.array([index]),
                view=0,
                heights=np.array([image.height]),
                widths=np.array([image.width]),
            )
            left, top = int(box["left"]), int(box["top"])
            corners = (left, top, left + int(box["width"]), top + int(box["height"]))
            window = image.crop(corners)  # `box` of resize would look beyond the window
            crop = np.asarray(window.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        pixels = ((result.views[0][index] * std + mean) * 255).permute(1, 2, 0).numpy()
        errors.append(np.abs(pixels - crop).mean())
    assert np.mean(errors) < 0.3


def test_every_kind_of_file_with_crops_made_by_dali(odd_folder: Path) -> None:
    source = open_source(odd_folder)
    options = options_for(source, max_bad_samples=None)
    ours = by_dalis_crops(options, requests(len(source)))
    theirs = by_torchvision(options, requests(len(source)))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.index, other.index)
        assert names(mine.bad) == names(other.bad)
    is_sample = np.concatenate([result.index >= 0 for result in ours for _ in TRAIN])
    errors = errors_per_image(ours, theirs)[torch.from_numpy(is_sample)]
    assert errors.mean() < 0.5
    assert errors.max() < 1.0
