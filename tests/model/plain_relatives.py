"""SimCLR, BYOL, MoCo v2 and SwAV, written plainly from their papers: sums row by row, copies of
modules, a list for a queue, matrices scaled in turn.
"""

import copy
import math
from typing import Any

import torch
from torch import nn

from .relatives_cases import (
    FEATURES,
    HIDDEN,
    NARROW,
    ROWS,
    WIDTH,
    WITHIN,
    compare_copies,
    make_course,
    unit,
)


def linear_norm_relu(before: int, width: int) -> list[nn.Module]:
    return [nn.Linear(before, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]


def linear_norm(before: int, width: int) -> list[nn.Module]:
    """The bias is what BatchNorm takes away again; it is there and not trained."""
    last = nn.Linear(before, width)
    last.bias.requires_grad = False
    return [last, nn.BatchNorm1d(width, affine=False)]


def bottleneck() -> list[nn.Module]:
    """SimSiam's predictor, and BYOL's."""
    return [*linear_norm_relu(WIDTH, NARROW), nn.Linear(NARROW, WIDTH)]


class Plain(nn.Module):
    """A method written from its paper, with the weights of ours."""

    def __init__(self, ours: Any, projector: list[nn.Module], predictor: list[nn.Module]) -> None:
        super().__init__()
        self.config = ours.config
        self.backbone = copy.deepcopy(ours.backbone)
        self.projector, self.predictor = nn.Sequential(*projector), nn.Sequential(*predictor)
        for own, head in ((self.projector, ours.projector), (self.predictor, ours.predictor)):
            pairs = zip(own.state_dict().values(), head.state_dict().values(), strict=True)
            for target, source in pairs:  # all of both are used
                assert target.shape == source.shape
                target.copy_(source)
        self.double()

    def encode(self, view: torch.Tensor) -> torch.Tensor:
        return self.projector(self.backbone(view))

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        raise NotImplementedError

    def after_step(self) -> None:
        """Behind each update."""

    def check(self, ours: Any) -> None:
        """What else moves in ours."""


class PlainSimCLR(Plain):
    """Equation 1 and algorithm 1; the projector with BN in both layers, as in its code."""

    def __init__(self, ours: Any) -> None:
        predictor = bottleneck() if ours.config.predictor == "mlp" else []
        projector = [*linear_norm_relu(FEATURES, HIDDEN), *linear_norm(HIDDEN, WIDTH)]
        super().__init__(ours, projector, predictor)

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Over rows i of both views: -log exp(s_ij / τ) / Σ_{k ≠ i} exp(s_ik / τ)."""
        z = [self.encode(view) for view in views]
        queries = [row / row.norm() for projection in z for row in self.predictor(projection)]
        keys = [row / row.norm() for projection in z for row in projection]
        if self.config.stop_gradient:
            keys = [key.detach() for key in keys]
        losses = []
        for i, query in enumerate(queries):
            partner = (i + ROWS) % (2 * ROWS)
            near = [(query.dot(key) / self.config.temperature).exp() for key in keys]
            others = [similarity for k, similarity in enumerate(near) if k != i]
            losses.append(-(near[partner] / sum(others)).log())
        return torch.stack(losses).mean()


class PlainBYOL(Plain):
    """Section 3: L = ‖q̄ - z̄'‖² = 2 - 2 cos, symmetrised; ours is that over 4, less 1. The target
    network has another τ in each step k of K: τ = 1 - (1 - τ_base) (cos(π k / K) + 1) / 2.
    """

    def __init__(self, ours: Any) -> None:
        projector = [*linear_norm_relu(FEATURES, HIDDEN), nn.Linear(HIDDEN, WIDTH)]
        super().__init__(ours, projector, bottleneck())
        self.targets = copy.deepcopy(nn.Sequential(self.backbone, self.projector))
        self.step = 0
        for weight in self.targets.parameters():
            weight.requires_grad = False

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        predictions = [unit(self.predictor(self.encode(view))) for view in views]
        targets = [unit(self.targets(view)) for view in views]
        pairs = ((predictions[0], targets[1]), (predictions[1], targets[0]))
        whole = sum((q - z).square().sum(dim=1).mean() for q, z in pairs)
        return torch.as_tensor(whole / 4 - 1)

    def after_step(self) -> None:
        base, num_steps = self.config.momentum, make_course().num_steps
        tau = 1 - (1 - base) * (math.cos(math.pi * self.step / num_steps) + 1) / 2
        self.step += 1
        followed = [*self.backbone.parameters(), *self.projector.parameters()]
        for own, other in zip(self.targets.parameters(), followed, strict=True):
            own.copy_(tau * own + (1 - tau) * other.detach())

    def check(self, ours: Any) -> None:
        compare_copies(ours.momentum_encoder, self.targets)


class PlainMoCo(Plain):
    """Algorithm 1 of MoCo with v2's projector, for either view as the query; the queue is a list,
    from the oldest key to the newest.
    """

    def __init__(self, ours: Any) -> None:
        projector = [nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)]
        super().__init__(ours, projector, [])
        self.keys = copy.deepcopy(nn.Sequential(self.backbone, self.projector))
        for weight in self.keys.parameters():
            weight.requires_grad = False
        self.queue = [key.clone() for key in ours.queue]

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        keys = [unit(self.keys(view)) for view in views]
        losses = []
        for query, positives in zip(map(self.encode, views), reversed(keys), strict=True):
            for q, positive in zip(unit(query), positives, strict=True):
                scores = [q.dot(key) / self.config.temperature for key in (positive, *self.queue)]
                losses.append(-(scores[0].exp() / sum(score.exp() for score in scores)).log())
        self.queue = [*self.queue, *keys[0], *keys[1]][-len(self.queue) :]
        return torch.stack(losses).mean()

    def after_step(self) -> None:
        followed = [*self.backbone.parameters(), *self.projector.parameters()]
        keep = self.config.momentum
        for own, other in zip(self.keys.parameters(), followed, strict=True):
            own.copy_(keep * own + (1 - keep) * other.detach())

    def check(self, ours: Any) -> None:
        compare_copies(ours.momentum_encoder, self.keys)
        by_age = ours.queue.roll(-ours.place.item(), dims=0)
        torch.testing.assert_close(by_age, torch.stack(self.queue), **WITHIN)


def plain_sinkhorn(scores: torch.Tensor, *, epsilon: float, rounds: int) -> torch.Tensor:
    """(B, K) → codes (B, K), as in the paper's listing: Q is K × B, clusters and samples in turn
    get the same share each.
    """
    q = (scores / epsilon).exp().T
    q = q / q.sum()
    for _ in range(rounds):
        q = q / q.sum(dim=1, keepdim=True) / q.shape[0]
        q = q / q.sum(dim=0, keepdim=True) / q.shape[1]
    return q.T * q.shape[1]


class PlainSwAV(Plain):
    """Section 3 with multi-crop: codes of the first two views, predicted from all others."""

    def __init__(self, ours: Any) -> None:
        predictor = bottleneck() if ours.config.predictor == "mlp" else []
        projector = [*linear_norm_relu(FEATURES, HIDDEN), nn.Linear(HIDDEN, WIDTH)]
        super().__init__(ours, projector, predictor)
        self.prototypes = copy.deepcopy(ours.prototypes)
        self.step = 0

    def loss(self, views: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.no_grad():
            self.prototypes.weight.copy_(unit(self.prototypes.weight))
        frozen = self.step < self.config.freeze_epochs * make_course().steps_per_epoch
        prototypes = self.prototypes.weight.detach() if frozen else self.prototypes.weight
        z = [self.encode(view) for view in views]
        p = [self.predictor(projection) for projection in z]
        losses = []
        for number in range(2):
            scores = unit(z[number]) @ prototypes.T
            if self.config.stop_gradient:
                scores = scores.detach()
            codes = plain_sinkhorn(
                scores, epsilon=self.config.epsilon, rounds=self.config.sinkhorn_iterations
            )
            for view, prediction in enumerate(p):
                if view != number:
                    near = (unit(prediction) @ prototypes.T / self.config.temperature).exp()
                    share = near / near.sum(dim=1, keepdim=True)
                    losses.append(-(codes * share.log()).sum(dim=1).mean())
        return torch.stack(losses).mean()

    def after_step(self) -> None:
        self.step += 1

    def check(self, ours: Any) -> None:
        torch.testing.assert_close(ours.prototypes.weight, unit(self.prototypes.weight), **WITHIN)
