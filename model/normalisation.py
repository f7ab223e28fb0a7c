"""BatchNorm over all ranks of a group: a batch that is shared out is normalised as one.

SimSiam normalises each view by that view's own statistics; the views pass one after the other, so
every call here is one view. torch's own SyncBatchNorm refuses tensors of a CPU, waits for the
device in each layer and breaks compiled graphs.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .ranks import gather_plainly

_STATE = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_BEHIND = ("drop", "act")
"""What timm's BatchNormAct2d puts behind the norm, under these names."""


class RankedBatchNorm(_BatchNorm):
    """nn.BatchNorm by its parameters, buffers and state, with the statistics of all ranks' rows.

    Each rank must give as many rows as every other. In evaluation it is nn.BatchNorm itself.
    """

    def __init__(self, like: _BatchNorm, group: dist.ProcessGroup) -> None:
        """
        Args:
            like: its parameters and buffers are taken over, the same objects; of timm's also
                the activation that is a part of it.
            group: of ranks.

        Raises:
            ValueError: `like` keeps no running statistics, or averages over all of its life, or is
                a BatchNorm that does something else besides.
        """
        is_plain = type(like).forward is _BatchNorm.forward
        behind = () if is_plain else tuple(name for name, _ in like.named_children())
        if not is_plain and behind != _BEHIND:
            raise ValueError(f"{like}: does more than normalise, and what is not known")
        if like.momentum is None or not like.track_running_stats:
            raise ValueError(f"{like}: only one with running statistics and a momentum")
        super().__init__(like.num_features, like.eps, like.momentum, like.affine, device="meta")
        for name in _STATE:
            setattr(self, name, getattr(like, name))
        for name in behind:
            self.add_module(name, getattr(like, name))
        self._group_name = group.group_name
        self._world_size = group.size()
        self.train(like.training)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, C, …) → the same shape, dtype and memory format."""
        output = self._normalise(input) if self.training else super().forward(input)
        for behind in self.children():
            output = behind(output)
        return output

    def _normalise(self, input: torch.Tensor) -> torch.Tensor:
        output, mean, var = _Normalise.apply(
            input, self.weight, self.bias, self.eps, self._group_name, self._world_size
        )
        count = self._world_size * input.numel() // self.num_features
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = var * (count / max(count - 1, 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked += 1
        return output

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any number of dimensions from two on."""


def rank_batch_norms(network: nn.Module, group: dist.ProcessGroup) -> nn.Module:
    """Put a `RankedBatchNorm` in the place of each nn.BatchNorm; the parameters stay the same."""
    if isinstance(network, _BatchNorm):
        return RankedBatchNorm(network, group)
    for name, child in network.named_children():
        setattr(network, name, rank_batch_norms(child, group))
    return network


class _Normalise(torch.autograd.Function):
    """By the statistics of all ranks; gathered once forward and once backward.

    The gradients of weight and bias are those of this rank's rows, for the average that data
    parallel training takes of all gradients.
    """

    @staticmethod
    def forward(ctx, input, weight, bias, eps, group_name, world_size):
        """→ output, mean (C,), biased variance (C,); statistics in float32 at least."""
        x = _widen(input)
        dims = _all_but_channels(x)
        own_var, own_mean = torch.var_mean(x, dims, correction=0)
        means, variances = _gather(torch.stack([own_mean, own_var]), group_name, world_size)
        # Within the ranks and between them: a mean of squares minus a squared mean would cancel.
        between, mean = torch.var_mean(means, 0, correction=0)
        var = variances.mean(0) + between
        scale = (var + eps).rsqrt()
        normalised = (x - _spread(mean, x)) * _spread(scale, x)
        output = normalised
        if weight is not None:
            output = normalised * _spread(weight, x) + _spread(bias, x)
        ctx.save_for_backward(input, weight, mean, scale)
        ctx.gathering = group_name, world_size
        ctx.mark_non_differentiable(mean, var)
        return output.to(input.dtype), mean, var

    @staticmethod
    def backward(ctx, *grads):
        """Of input, weight and bias."""
        grad_output = grads[0]
        input, weight, mean, scale = ctx.saved_tensors
        x, grad = _widen(input), _widen(grad_output)
        dims = _all_but_channels(x)
        normalised = (x - _spread(mean, x)) * _spread(scale, x)
        sums = torch.stack([grad.sum(dims), (grad * normalised).sum(dims)])
        count = ctx.gathering[1] * x.numel() // len(mean)
        of_grad, of_product = (part.sum(0) / count for part in _gather(sums, *ctx.gathering))
        grad_input = grad - _spread(of_grad, x) - normalised * _spread(of_product, x)
        factor = scale if weight is None else scale * weight
        grad_input = (grad_input * _spread(factor, x)).to(input.dtype)
        grad_bias, grad_weight = (None, None) if weight is None else sums.unbind()
        return grad_input, grad_weight, grad_bias, None, None, None


def _gather(pair: torch.Tensor, group_name: str, world_size: int) -> tuple[torch.Tensor, ...]:
    """(2, C) of this rank → two of (ranks, C).

    Never a sum over the ranks, which the compiler of torch 2.14 runs in place, on memory that is
    still read as the parts of the stack: gradients are then wrong by up to a fifth at random, and
    the loss looks right.
    """
    return gather_plainly(pair[None], world_size, group_name).unbind(1)


def _widen(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _all_but_channels(x: torch.Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _spread(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(C,) → (1, C, 1, …)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))
