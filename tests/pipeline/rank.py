"""`python rank.py RANK WORLD_SIZE ENGINE PICTURES FILE`: what one rank of a job is given.

It writes to FILE, for torch.load, what `record` returns.
"""

import sys
from pathlib import Path

import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import open_source

BATCH_SIZE = 4
"""Of all ranks together."""

BROKEN_OFF = 2
"""Batches of the second epoch before it is broken off and resumed."""

Row = dict[str, torch.Tensor]
Record = dict[str, list[Row] | dict[str, int]]


def record(rank: int, world_size: int, engine: str, pictures: Path) -> Record:
    """Batches of this rank: `train` (two epochs), `rest` (resumed at `place`), `evaluation`."""

    def open_loader(*, train: bool, num_workers: int = 0) -> Loader:
        config = AugmentConfig(size=16)
        return build_loader(
            source=open_source(pictures),
            specs=build_train_specs(config) if train else (build_eval_spec(config),),
            global_batch_size=BATCH_SIZE,
            train=train,
            seed=3,
            engine=engine,
            num_workers=num_workers,
            rank=rank,
            world_size=world_size,
        )

    found: Record = {}
    with open_loader(train=True, num_workers=1) as loader:
        found["train"] = [_row(batch) for _ in range(2) for batch in loader]
    with open_loader(train=True) as loader:
        loader.set_epoch(1)
        for _ in zip(range(BROKEN_OFF), loader, strict=False):
            pass
        found["place"] = loader.state()
    with open_loader(train=True) as loader:
        loader.load(found["place"])
        found["rest"] = [_row(batch) for batch in loader]
    with open_loader(train=False) as loader:
        found["evaluation"] = [_row(batch) for batch in loader]
    return found


def _row(batch: Batch) -> Row:
    views = {f"view {number}": view for number, view in enumerate(batch.views)}
    return {"index": batch.index, "label": batch.label, **views}


if __name__ == "__main__":
    number, count, name, folder, target = sys.argv[1:]
    torch.save(record(int(number), int(count), name, Path(folder)), target)
