"""How a worker process hands a batch over: through shared memory, or through its pipe.

A batch is made ready in the worker's own thread. A queue would do it in a thread of its own, where
a failure (a full /dev/shm) is printed and the batch is lost, and the trainer waits for it for ever.
"""

import math
import pickle
import resource
import shutil
import sys
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import torch

from ..contract import EngineOptions, Result
from ..errors import UserError
from .rows import allocate

_SHARED = Path("/dev/shm")
_SPARE = 1.2  # other processes take some of it, too
_FILES_A_WORKER, _FILES_A_BATCH, _OTHER_FILES = 6, 4, 64


@dataclass(frozen=True)
class _Piped:
    """A result without shared memory: its pixels as arrays, which a pipe copies."""

    pixels: tuple[np.ndarray, ...]
    """The bytes of each block, (N, size, size, bytes of a pixel) uint8."""
    dtype: torch.dtype
    empty: Result
    """The rest of it."""

    def result(self) -> Result:
        """As it was."""
        blocks = [torch.from_numpy(pixels).view(self.dtype) for pixels in self.pixels]
        if self.empty.params is None:
            blocks = [block.permute(0, 3, 1, 2) for block in blocks]
        return replace(self.empty, pixels=tuple(blocks))


@dataclass(frozen=True)
class Parcel:
    """A batch on its way."""

    content: bytes

    def open(self) -> Result:
        """The batch, in the process that asked for it."""
        content = pickle.loads(self.content)
        return content.result() if isinstance(content, _Piped) else content

    def pin_memory(self, device: object = None) -> Result:
        """Opened, and copied to where the GPU reads it by itself; by DataLoader's thread."""
        return self.open().pin_memory()


def allocate_shared(count: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    """Memory for views or crops that another process can open, see `rows.Allocate`; or, where no
    more is to be had, plain memory, which `pack` copies.

    Not only to save the copy: plain memory of some 20 MB for each batch, between pictures of half a
    megabyte, leaves holes in glibc's heap that no batch fits in again, and the worker grows by what
    it makes.
    """
    shape = (count, size, size, 3)
    try:
        storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    except (RuntimeError, OSError):  # torch's, and of too many open files
        return allocate(count, size, dtype)
    pixels = torch.empty(0, dtype=dtype).set_(storage, 0, shape)  # pyright: ignore[reportCallIssue]
    return pixels.permute(0, 3, 1, 2)


def pack(result: Result, *, is_shared: bool) -> Parcel:
    """A batch as bytes; where shared memory is full, this one goes through the pipe as well."""
    if is_shared:
        try:
            return Parcel(bytes(ForkingPickler.dumps(result)))
        except (RuntimeError, OSError) as error:  # torch's, and of too many open files
            _warn_once(f"warning: no shared memory for a batch, it takes the pipe ({error})")
    # Shared memory that the attempt has taken is given back with the tensors.
    blocks = result.pixels
    if result.params is None:
        blocks = tuple(view.permute(0, 2, 3, 1) for view in blocks)
    pixels = tuple(block.view(torch.uint8).numpy().copy() for block in blocks)
    return Parcel(pickle.dumps(_Piped(pixels, blocks[0].dtype, replace(result, pixels=()))))


@cache
def _warn_once(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fits_shared_memory(options: EngineOptions, *, num_batches: int) -> bool:
    """Whether so many batches fit into what is free; says so on stderr if not."""
    pixels = sum(3 * spec.size**2 for spec in options.specs)
    needed = num_batches * options.batch_size * pixels * options.pixel_dtype.itemsize * _SPARE
    free = shutil.disk_usage(_SHARED).free if _SHARED.is_dir() else 0
    if free >= needed:
        return True
    _warn_once(
        f"warning: {_SHARED} has {free / 1e6:,.0f} MB free, and batches take {needed / 1e6:,.0f} "
        "MB; they go through pipes, which is slower (in a container: docker run "
        f"--shm-size={max(math.ceil(needed / 1e9), 8)}g)"
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
