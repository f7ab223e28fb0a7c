"""The sampler as the tests of it use it."""

from collections.abc import Callable

import numpy as np
import pytest
from swiftsiam.pipeline.augment.sampler import draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    Normalize,
    RandomResizedCrop,
    build_train_specs,
)


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    """(indices or number, (height, width), spec=the paper's, seed=, epoch=, view=) → records."""

    def draw(
        indices: int | np.ndarray,
        shape: tuple[int, int],
        spec: AugmentSpec | None = None,
        *,
        seed: int = 0,
        epoch: int = 0,
        view: int = 0,
    ) -> np.ndarray:
        indices = np.arange(indices) if isinstance(indices, int) else indices
        return draw_views(
            pack_spec(spec or build_train_specs(AugmentConfig())[0]),
            seed=seed,
            epoch=epoch,
            indices=indices,
            view=view,
            heights=np.full(len(indices), shape[0]),
            widths=np.full(len(indices), shape[1]),
        )

    return draw


@pytest.fixture(scope="session")
def crop_spec() -> Callable[..., AugmentSpec]:
    """(scale=, ratio=) → a spec with no more than a crop of 32 px."""

    def crop_spec(**ranges: tuple[float, float]) -> AugmentSpec:
        return AugmentSpec(ops=(RandomResizedCrop(size=32, **ranges), Normalize()))

    return crop_spec
