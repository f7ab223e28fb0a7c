"""The DALI engine: the torchvision engine's batches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline import engines
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    build_eval_spec,
    build_train_specs,
)
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source

from .dali_runs import EVAL, TRAIN, assert_equal, by_dali, by_torchvision, options_for, requests

pytestmark = pytest.mark.engine("dali")


@pytest.mark.parametrize("specs", [TRAIN, EVAL], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_are_the_torchvision_engines(
    class_folder: Path, specs: tuple[AugmentSpec, ...], dtype: torch.dtype
) -> None:
    source = open_source(class_folder)
    options = options_for(source, specs=specs, dtype=dtype)
    asked = list(requests(len(source)))
    assert_equal(by_dali(options, iter(asked)), by_torchvision(options, iter(asked)))


def test_small_png(
    tmp_path: Path, draw_picture: Callable[..., np.ndarray], encode: Callable[..., bytes]
) -> None:
    """CIFAR's: 32-px PNG, 32-px views."""
    (tmp_path / "a").mkdir()
    for number in range(7):
        picture = draw_picture(number, 32, 32)
        (tmp_path / f"a/{number}.png").write_bytes(encode(picture, "PNG"))
    config = AugmentConfig(size=32, preset="cifar")
    for specs in (build_train_specs(config), (build_eval_spec(config),)):
        options = options_for(open_source(tmp_path), specs=specs)
        assert_equal(by_dali(options, requests(7)), by_torchvision(options, requests(7)))


def test_oracle(class_folder: Path) -> None:
    options = options_for(open_source(class_folder), ops="oracle")
    assert_equal(by_dali(options, requests(4)), by_torchvision(options, requests(4)))


def test_batches_are_the_callers_own(class_folder: Path) -> None:
    """And the last one of an evaluation is partial."""
    with build_loader(
        source=open_source(class_folder),
        engine="dali",
        specs=EVAL,
        global_batch_size=5,
        train=False,
        num_workers=1,
    ) as loader:
        assert len(loader) == 5
        kept = list(loader)
    assert [len(batch.index) for batch in kept] == [5, 5, 5, 5, 3]
    options = options_for(open_source(class_folder), specs=EVAL, seed=0)
    expected = by_torchvision(options, requests(23, 5, epoch=0))
    for batch, result in zip(kept, expected, strict=True):
        assert torch.equal(batch.views[0], result.views[0])


def test_without_dali_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"loader.engine=dali.*pip install nvidia-dali-cuda130"):
        engines.build("dali", options_for(None, specs=EVAL, seed=0))
