"""How a worker process hands a batch over: through shared memory, or through its pipe.

A batch is made ready in the worker's own thread. A queue would do it in a thread of its own, where
a failure (a full /dev/shm) is printed and the batch is lost, and the trainer waits for it for ever.
"""

import pickle
import resource
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import torch

from ..augment.cpu import as_pixels
from ..contract import BadSample, EngineOptions, Result
from ..errors import UserError

_SHARED = Path("/dev/shm")
_SPARE = 1.2  # other processes take some of it, too
_FILES_A_WORKER, _FILES_A_BATCH, _OTHER_FILES = 6, 4, 64


@dataclass(frozen=True)
class _Piped:
    """A result without shared memory: its views as arrays, which a pipe copies."""

    pixels: tuple[np.ndarray, ...]
    dtype: torch.dtype
    index: np.ndarray
    bad: list[BadSample]

    def result(self) -> Result:
        """As it was."""
        views = tuple(
            torch.from_numpy(pixels).view(self.dtype).permute(0, 3, 1, 2) for pixels in self.pixels
        )
        return Result(views, self.index, self.bad)


def pack(result: Result, *, is_shared: bool) -> bytes:
    """A batch as bytes; where shared memory is full, this one goes through the pipe as well."""
    if is_shared:
        try:
            return bytes(ForkingPickler.dumps(result))
        except (RuntimeError, OSError) as error:  # torch's, and of too many open files
            _warn_once(f"warning: no shared memory for a batch, it takes the pipe ({error})")
    # Shared memory that the attempt has taken is given back with the tensors.
    pixels = tuple(np.array(as_pixels(view)) for view in result.views)
    return pickle.dumps(_Piped(pixels, result.views[0].dtype, result.index, result.bad))


@cache
def _warn_once(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def unpack(parcel: bytes) -> Result:
    """The batch, in the process that asked for it."""
    content = pickle.loads(parcel)
    return content.result() if isinstance(content, _Piped) else content


def fits_shared_memory(options: EngineOptions, *, num_batches: int) -> bool:
    """Whether so many batches fit into what is free; says so on stderr if not."""
    pixels = sum(3 * spec.size**2 for spec in options.specs)
    needed = num_batches * options.batch_size * pixels * options.dtype.itemsize * _SPARE
    free = shutil.disk_usage(_SHARED).free if _SHARED.is_dir() else 0
    if free >= needed:
        return True
    _warn_once(
        f"warning: {_SHARED} has {free / 1e6:,.0f} MB free, and batches take {needed / 1e6:,.0f} "
        "MB; they go through pipes, which is slower (in a container: docker run --shm-size=8g)"
    )
    return False


def allow_open_files(*, num_workers: int, num_batches: int) -> None:
    """Raise this process's limit of open files to what workers and batches under way take.

    Raises:
        UserError: more than the system allows.
    """
    needed = _FILES_A_WORKER * num_workers + _FILES_A_BATCH * num_batches + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"data.num_workers={num_workers}: takes {needed} open files, and {hard} are allowed; "
            f"allow more (ulimit -n {max(needed, 4096)}), or use fewer workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
