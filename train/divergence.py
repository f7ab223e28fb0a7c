"""The batch at which a loss was not finite: its pictures and views, to be looked at."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..pipeline.augment.sampler import PARAMS, draw_view, pack_spec
from ..pipeline.decode import decode_rgb
from ..pipeline.errors import BadSampleError, UserError
from ..pipeline.files import write_atomically
from ..pipeline.order import BatchPlan

if TYPE_CHECKING:
    from .job import Job
    from .run import RunFolder

NAME = "diverged.json"


def write_batch(job: "Job", run: "RunFolder", *, step: int) -> None:
    """Write the pictures of a step, of all ranks, and the parameters of their views.

    Order and views are functions of seed, epoch and index, so that nothing had to be kept. A bad
    sample stands there under its own index, not its replacement's.
    """
    seed, batch_size = job.config.train.seed, job.config.train.batch_size
    epoch, done = divmod(step - 1 + job.offset, job.rate.steps_per_epoch)
    plan = BatchPlan(
        indices=job.loader.indices, global_batch_size=batch_size, seed=seed, train=True
    )
    indices = next(plan.batches(epoch, start=done * batch_size))
    found = {
        "step": step,
        "epoch": epoch,
        "seed": seed,
        "samples": [_describe(job, int(index), epoch=epoch) for index in indices],
    }
    with run.writing(NAME):
        write_atomically(run.path / NAME, json.dumps(found, indent=1).encode() + b"\n")


def read_batch(path: Path) -> dict[str, Any]:
    """What `write_batch` has written.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    try:
        batch = json.loads(path.read_bytes())
        has_all = batch["samples"] and {"step", "epoch", "seed"} <= batch.keys()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as a run's {NAME} ({error})") from error
    if not has_all:
        raise UserError(f"{path}: lacks what a run's {NAME} holds")
    return batch


def _describe(job: "Job", index: int, *, epoch: int) -> dict[str, Any]:
    sample: dict[str, Any] = {"index": index, "key": job.source.key(index)}
    try:
        height, width = decode_rgb(job.source.read(index)).shape[:2]
    except BadSampleError as error:
        return sample | {"bad": str(error)}
    drawn = np.zeros(1, PARAMS)
    views = []
    for view, spec in enumerate(job.loader.options.specs):
        seed = np.uint64(job.config.train.seed)
        draw_view(
            pack_spec(spec)[0],
            seed,
            np.uint64(epoch),
            np.int64(index),
            np.uint64(view),
            height,
            width,
            drawn[0],
        )
        names = [name for name in PARAMS.names or () if not name.startswith("_")]
        views.append({name: drawn[0][name].tolist() for name in names})
    return sample | {"height": height, "width": width, "views": views}
