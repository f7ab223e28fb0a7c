"""The projector and the predictor (paper, section 3, "Baseline settings")."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def build_mlp(
    widths: Sequence[int], *, hidden_norm: bool = True, output_norm: bool = False
) -> nn.Sequential:
    """[Linear, BN, ReLU] … Linear, BN without affine; the BNs where they are asked for.

    A Linear has a bias where no BN follows, which would cancel it. The last one has it anyway, as
    in the reference implementation, for the layout's sake; before a BN it is frozen.

    Args:
        widths: of the input, the hidden layers and the output.
        hidden_norm: BN before each ReLU.
        output_norm: BN at the end.
    """
    layers: list[nn.Module] = []
    *hidden, output = widths
    for width_in, width in pairwise(hidden):
        layers.append(nn.Linear(width_in, width, bias=not hidden_norm))
        if hidden_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.ReLU(inplace=True))
    last = nn.Linear(hidden[-1], output)
    layers.append(last)
    if output_norm:
        last.bias.requires_grad_(False)
        layers.append(nn.BatchNorm1d(output, affine=False))
    return nn.Sequential(*layers)
