"""Rows of all processes, for losses that compare pictures with each other."""

from typing import NamedTuple

import torch
import torch.distributed as dist


class Ranks(NamedTuple):
    """The processes that share each batch; made of plain values, as compiled graphs take them."""

    rank: int = 0
    size: int = 1
    group_name: str = ""

    @classmethod
    def of(cls, group: dist.ProcessGroup) -> "Ranks":
        """This process among those of a group."""
        return cls(group.rank(), group.size(), group.group_name)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, …) of this rank → (size * B, …) of all, in their order; gradients flow back to the
        rank that a row came from, summed over all. Each rank gives as many rows.
        """
        if self.size == 1:
            return rows
        return _Gathered.apply(rows, *self)  # type: ignore[return-value]

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        """(size * B, …) of all ranks → (B, …) of this one."""
        count = len(rows) // self.size
        return rows[self.rank * count : (self.rank + 1) * count]


class _Gathered(torch.autograd.Function):
    """Gathered forward and backward: see `normalisation` on why never a sum over the ranks."""

    @staticmethod
    def forward(ctx, rows, rank, size, group_name):
        ctx.ranks = rank, size, group_name
        return gather_plainly(rows, size, group_name)

    @staticmethod
    def backward(ctx, *grads):
        """Of the rows: the losses of all ranks have a share in each."""
        rank, size, group_name = ctx.ranks
        (grad,) = grads
        of_all = gather_plainly(grad, size, group_name).view(size, size, -1, *grad.shape[1:])
        return of_all[:, rank].sum(0), None, None, None


def gather_plainly(rows: torch.Tensor, size: int, group_name: str) -> torch.Tensor:
    """(B, …) of this rank → (size * B, …), without gradients."""
    ops = torch.ops._c10d_functional
    return ops.wait_tensor(ops.all_gather_into_tensor(rows.contiguous(), size, group_name))
