"""What is put around a method before it trains: the memory format, BatchNorm over the ranks, the
compiler, and the averaging of gradients, in the one order in which they work together.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from ..model.method import Method, Output
from ..model.normalisation import rank_batch_norms
from ..model.ranks import Ranks
from ..pipeline.errors import UserError
from ..pipeline.world import World

Forward = Callable[..., Output]


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """The processes that share each batch, and how."""

    world: World = field(default_factory=World)
    sync_batch_norm: bool = True
    """Statistics of all rows, not of a process's own."""
    compress_gradients: Literal["off", "bf16"] = "off"
    """What gradients travel as."""


def wrap(model: Method, *, channels_last: bool, compiled: bool, sharing: Sharing) -> Forward:
    """Make the method ready to be trained on, in place; its parameters stay the same objects.

    Args:
        model: on its device.
        channels_last: memory format of the weights.
        compiled: by torch.compile.
        sharing: of each batch; all of its processes call this.

    Returns:
        What to call instead of the model.
    """
    world = sharing.world
    if channels_last:  # first: a graph is compiled for strides
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not world.is_alone:
        model.share(Ranks.of(world.layer_group))
    if not world.is_alone and sharing.sync_batch_norm:  # seen by the compiler
        try:
            rank_batch_norms(model, world.layer_group)
        except ValueError as error:
            raise world.alike(
                UserError(
                    f"train.sync_batch_norm=true: {error}; set train.sync_batch_norm=false, or "
                    "choose another model.backbone"
                )
            ) from None
    if compiled:
        # In place, or each key of the state would get a prefix; within the averaging of gradients,
        # whose own code the compiler cannot take.
        model.compile(fullgraph=True, dynamic=False)
    return model if world.is_alone else _average_gradients(model, sharing)


@torch.no_grad()
def lead_buffers(network: nn.Module, world: World) -> None:
    """The first rank's running statistics on all of them: those that a checkpoint has. Where each
    rank normalises by its own rows they differ, and features of several would be compared.
    """
    for buffer in network.buffers():
        dist.broadcast(buffer, 0, group=world.group)


def unwrap_compiled(model: Method) -> None:
    """Undo the compiler's part of `wrap`."""
    model._compiled_call_impl = None  # torch has no other way back from Module.compile


def _average_gradients(model: Method, sharing: Sharing) -> Forward:
    device = next(model.parameters()).device
    group = sharing.world.group
    averaged = DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        process_group=group,
        static_graph=True,
        gradient_as_bucket_view=True,
        **_leave_buffers(),
    )
    if sharing.compress_gradients == "bf16":
        averaged.register_comm_hook(group, bf16_compress_hook)
    return averaged


def _leave_buffers() -> dict[str, Any]:
    """No broadcast of running statistics in each forward pass: all ranks compute the same, or
    `lead_buffers` when it matters.
    """
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return {name: False}
