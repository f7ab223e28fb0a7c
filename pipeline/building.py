"""A loader from what a caller knows: the source, the views, the batch, the machine."""

from typing import Literal

import numpy as np
import torch

from .augment.spec import AugmentSpec
from .contract import EngineOptions
from .decoder_options import DecoderOptions
from .devices import as_one_device
from .engines import choose
from .errors import UserError
from .loader import Loader
from .order import BatchPlan
from .sources import Source
from .stages import Stages


def build_loader(
    *,
    source: Source,
    specs: tuple[AugmentSpec, ...],
    global_batch_size: int,
    train: bool,
    seed: int = 0,
    engine: str = "auto",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    max_bad_samples: int = 0,
    indices: np.ndarray | None = None,
    num_epochs: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    ops: Literal["kernel", "oracle"] = "kernel",
    delivers: Literal["views", "crops"] = "views",
    decoder: DecoderOptions | None = None,
    stall_s: float | None = None,
    stages: Stages | None = None,
) -> Loader:
    """A loader over `source`, or over the samples `indices` of it.

    Args:
        source: of `sources.open_source`.
        specs: one for each view.
        global_batch_size: over all ranks.
        train: shuffled, the last partial batch dropped, bad samples replaced; otherwise ordered,
            complete, padded, bad samples left empty.
        seed: of order and views.
        engine: a name of `engines.ENGINES`; auto: the fastest that is installed.
        dtype: of the views; float32 or bfloat16, and of crops float16 as well.
        device: where the views go.
        num_workers: 0: the engine works in this process.
        max_bad_samples: see `DataConfig`.
        indices: (N,) integers; None: all.
        num_epochs: where the workers stop running ahead.
        rank, world_size: this process among those that share the batches.
        ops: `oracle`: the float64 reference instead of the kernel.
        delivers: what the engine makes; of crops the views are made on `device`.
        decoder: the dali engine's; None: as it is.
        stall_s: see `DataConfig`; None: no limit.
        stages: where the workers count their time; made for as many.

    Raises:
        UserError: a batch that no rank could fill, or shares that do not come out even.
    """
    chosen = np.arange(len(source)) if indices is None else np.asarray(indices, np.int64)
    if global_batch_size % world_size:
        raise UserError(
            f"train.batch_size={global_batch_size}: must be a multiple of "
            f"{world_size}, the number of processes"
        )
    if train and len(chosen) < 2:
        raise UserError(
            f"data.path: {len(chosen)} picture to train on, and a batch takes two or more; give "
            "more pictures (data.limit may leave too few)"
        )
    if train and len(chosen) < global_batch_size:
        raise UserError(
            f"train.batch_size={global_batch_size}: larger than the data set of {len(chosen)} "
            f"pictures; set train.batch_size={max(len(chosen) // 2, 2)} or less"
        )
    assert delivers == "views" or ops == "kernel", "the oracle begins with the picture"
    device = as_one_device(device)
    if engine == "auto":
        engine, _ = choose({source.format}, device.type)
    plan = BatchPlan(
        indices=chosen,
        global_batch_size=global_batch_size,
        seed=seed,
        train=train,
        rank=rank,
        world_size=world_size,
    )
    options = EngineOptions(
        source=source,
        specs=specs,
        seed=seed,
        batch_size=global_batch_size // world_size,
        dtype=dtype,
        device=device,
        num_workers=num_workers,
        max_bad_samples=max_bad_samples if train else None,
        ops=ops,
        delivers=delivers,
        decoder=decoder or DecoderOptions(),
        stages=stages,
    )
    return Loader(
        plan=plan,
        options=options,
        engine_name=engine,
        num_epochs=num_epochs,
        stall_s=stall_s,
    )
