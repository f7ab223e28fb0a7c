"""bfloat16 views are float32 views rounded to nearest, ties to even."""

import numpy as np
import torch
from swiftsiam.pipeline.augment.cpu import augment_view, make_scratch
from swiftsiam.pipeline.augment.sampler import PARAMS, draw_view, pack_spec
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs

SIZE = 224


def test_ties_go_to_even() -> None:
    spec = build_train_specs(AugmentConfig(size=SIZE))[0]
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    params = np.zeros(1, PARAMS)
    draw_view(pack_spec(spec)[0], np.uint64(0), np.uint64(0), 0, np.uint64(0), 256, 256, params[0])
    constants = np.zeros((2, 18), np.float32)
    constants[0] = 1.0  # the pixels themselves, 16 bits wide: many of them are ties
    scratch = make_scratch(size=SIZE)
    views = []
    for dtype in (np.float32, np.uint16):
        out = np.zeros((1, SIZE, SIZE, 3), dtype)
        assert augment_view(image, params, 0, scratch, constants, out)
        views.append(torch.from_numpy(out))
    exact, rounded = views[0], views[1].view(torch.bfloat16)
    bits = exact.view(torch.int32) & 0x1FFFF
    assert (bits == 0x8000).sum() > 10
    assert (bits == 0x18000).sum() > 10
    assert torch.equal(rounded, exact.to(torch.bfloat16))
