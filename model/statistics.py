"""Signs of collapse (paper, section 4.1): what the output does when training has gone wrong."""

import torch
import torch.nn.functional as F


def normalized_std(z: torch.Tensor) -> torch.Tensor:
    """Standard deviation of z/‖z‖ per channel, averaged, times √d: 1 healthy, 0 collapsed.

    Args:
        z: (B, d) projections of one view; of several processes, those of one. Of few rows it is
            too low by a share of about 3 / (4 B), and of one it is 0.

    Returns:
        Scalar, float32, on z's device.
    """
    unit = F.normalize(z.float(), dim=1)
    return unit.std(dim=0, correction=0).mean() * z.shape[1] ** 0.5


def effective_rank(z: torch.Tensor) -> torch.Tensor:
    """exp of the entropy of the covariance's spectrum: how many directions the projections use.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007. From 1 to min(B, d).

    Args:
        z: (B, d) projections of one view.
    """
    unit = F.normalize(z.float(), dim=1)
    singular = torch.linalg.svdvals(unit - unit.mean(dim=0))
    share = singular / singular.sum().clamp_min(1e-12)
    return torch.exp(-(share * share.clamp_min(1e-12).log()).sum())
