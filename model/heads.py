"""The projector and the predictor (paper, section 3, "Baseline settings")."""

from torch import nn


def build_projector(
    num_features: int, *, num_layers: int, hidden: int, output: int
) -> nn.Sequential:
    """feature → projection: [Linear, BN, ReLU] × (num_layers - 1), Linear, BN without affine.

    The Linears before a ReLU have no bias.

    The last Linear has a bias that BN cancels; as in the reference implementation it is kept, for
    the layout's sake, and frozen.
    """
    layers: list[nn.Module] = []
    width = num_features
    for _ in range(num_layers - 1):
        layers += [
            nn.Linear(width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
        ]
        width = hidden
    last = nn.Linear(width, output)
    last.bias.requires_grad_(False)
    layers += [last, nn.BatchNorm1d(output, affine=False)]
    return nn.Sequential(*layers)


def build_predictor(width: int, *, hidden: int) -> nn.Sequential:
    """projection → prediction: a bottleneck; neither BN nor ReLU at its output."""
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, width),
    )
