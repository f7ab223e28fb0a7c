"""What is put around a method before it trains: the memory format, BatchNorm over the ranks, the
compiler, and the averaging of gradients, in the one order in which they work together.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from ..model.method import Method, Output
from ..model.normalisation import rank_batch_norms
from ..pipeline.world import World
from .config import TrainConfig

Forward = Callable[..., Output]


def wrap(model: Method, config: TrainConfig, world: World) -> Forward:
    """Make the method ready to be trained on, in place; its parameters stay the same objects.

    Args:
        model: on its device.
        config: resolved.
        world: the processes that share each batch; all of them call this.

    Returns:
        What to call instead of the model.
    """
    if config.channels_last:  # first: a graph is compiled for strides
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not world.is_alone and config.sync_batch_norm:  # seen by the compiler
        rank_batch_norms(model, world.group)
    if config.compile == "on":
        # In place, or each key of the state would get a prefix; within the averaging of gradients,
        # whose own code the compiler cannot take.
        model.compile(fullgraph=True)
    return model if world.is_alone else _average_gradients(model, config, world)


def _average_gradients(model: Method, config: TrainConfig, world: World) -> Forward:
    device = next(model.parameters()).device
    averaged = DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        process_group=world.group,
        static_graph=True,
        gradient_as_bucket_view=True,
        **_leave_buffers(),
    )
    if config.compress_gradients == "bf16":
        averaged.register_comm_hook(world.group, bf16_compress_hook)
    return averaged


def _leave_buffers() -> dict[str, Any]:
    """No broadcast of running statistics in each forward pass: all ranks compute the same."""
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return {name: False}
