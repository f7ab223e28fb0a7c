"""Seats for runs side by side: cores of its own for each, and a GPU."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ...pipeline.errors import UserError
from ...pipeline.machine import divide_cores, num_cores, on_cores

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class Seat:
    """What one run of several may use."""

    cores: tuple[int, ...] | None = None
    """None: all."""
    gpu: str | None = None
    """As the variable CUDA_VISIBLE_DEVICES names it; None: whatever is there."""


WHOLE = Seat()


def make_seats(jobs: int | None, device: str) -> list[Seat]:
    """Divide the machine.

    Args:
        jobs: seats; None: one for each GPU, or one.
        device: cpu, or cuda, whose GPUs go round.

    Raises:
        UserError: there are fewer cores.
    """
    gpus = _list_gpus() if device == "cuda" else []
    jobs = jobs or max(min(len(gpus), num_cores()), 1)
    if jobs > num_cores():
        raise UserError(f"--jobs={jobs}: there are {num_cores()} cores here; give as many at most")
    if jobs == 1:
        return [WHOLE]
    return [
        Seat(cores=tuple(cores), gpu=gpus[number % len(gpus)] if gpus else None)
        for number, cores in enumerate(divide_cores(jobs))
    ]


def _list_gpus() -> list[str]:
    """Those that this process sees, by the names that it would give on."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


@contextlib.contextmanager
def seated(seat: Seat) -> Iterator[None]:
    """Processes that this thread begins meanwhile sit there."""
    before = os.environ.get(_VISIBLE)
    with on_cores(None if seat.cores is None else list(seat.cores)):
        if seat.gpu is not None:
            os.environ[_VISIBLE] = seat.gpu
        try:
            yield
        finally:
            if before is not None:
                os.environ[_VISIBLE] = before
            elif seat.gpu is not None:
                del os.environ[_VISIBLE]
