"""One device, said exactly: of several GPUs, each process and each of its threads has its own."""

import contextlib

import torch


def as_one_device(device: torch.device | str) -> torch.device:
    """The device with its number: a plain "cuda" means another GPU in each thread."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def enter_device(device: torch.device) -> None:
    """What this thread does on a GPU from now on, it does on this one; a new thread has the first.

    Without it, pinned memory and streams of a second process would lie on the first one's GPU.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)


def on_stream(stream: "torch.cuda.Stream | None") -> contextlib.AbstractContextManager[object]:
    """What is launched within goes on this stream; None: on a CPU, which has none."""
    return contextlib.nullcontext() if stream is None else torch.cuda.stream(stream)
