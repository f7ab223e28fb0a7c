"""The threads of the DALI engine end with their loader."""

import threading
from pathlib import Path

import pytest
import torch
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    build_eval_spec,
    build_train_specs,
)
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import open_source

pytestmark = pytest.mark.engine("dali")

CONFIG = AugmentConfig(size=40)
TRAIN = build_train_specs(CONFIG)
EVAL = (build_eval_spec(CONFIG),)


def dali_loader(folder: Path, **changes: object) -> Loader:
    settings: dict = {"specs": TRAIN, "global_batch_size": 5, "train": True, "num_workers": 1}
    return build_loader(source=open_source(folder), engine="dali", **(settings | changes))


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dali-producer"]


def test_early_breaks_leave_nothing_behind(class_folder: Path) -> None:
    num_torch_threads = torch.get_num_threads()
    for _ in range(4):
        loader = dali_loader(class_folder)
        next(iter(loader))
        loader.close()
        loader.close()
        assert not engine_threads()
    forgotten = dali_loader(class_folder)
    batches = iter(forgotten)
    next(batches)
    threads = engine_threads()
    assert threads
    del batches, forgotten
    for thread in threads:
        thread.join()
    assert torch.get_num_threads() == num_torch_threads


def test_two_loaders_at_once(class_folder: Path) -> None:
    train = dali_loader(class_folder, num_workers=2)
    val = dali_loader(class_folder, specs=EVAL, train=False, num_workers=0)
    with train, val:
        for batch in train:
            assert len(batch.index) == 5
            seen = torch.cat([each.index for each in val])
            assert seen.tolist() == list(range(len(open_source(class_folder))))
