"""What predictions are drawn to: how the targets η of the paper's section 5 are found.

Section 5.1 reads SimSiam as alternating between two variables, the weights θ and a representation
η of each picture: η ← the expectation of F_θ(view) over the augmentations, by one sample; then a
step of θ towards η. Each class here is another solver for η.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .copies import EncoderCopy
from .method import Course
from .ranks import Ranks

Views = Sequence[torch.Tensor]


class Target(nn.Module):
    """The stop-gradient: the other view's projection, as it is now (section 3)."""

    is_unit: bool = False
    """Whether targets are unit vectors, or means of them."""

    def begin(self, course: Course, *, width: int) -> None:
        """See `Method.begin`; `width` is that of the projections."""

    def share(self, ranks: Ranks) -> None:
        """See `Method.share`."""

    def forward(self, z: Views, views: Views, index: torch.Tensor) -> list[torch.Tensor]:
        """The target of each view's prediction.

        Args:
            z: (B, d) projections of the views, of which 2 k and 2 k + 1 are a pair.
            views: (B, 3, H, W) each.
            index: (B,) of the pictures.
        """
        return [projection.detach() for projection in _partners(z)]

    def after_step(self, backbone: nn.Module, projector: nn.Module) -> None:
        """Behind each update of the encoder."""


def _partners(z: Views) -> list[torch.Tensor]:
    return [z[number ^ 1] for number in range(len(z))]


class Shared(Target):
    """No stop-gradient: gradients flow into the target as well (section 4.1)."""

    def forward(self, z: Views, views: Views, index: torch.Tensor) -> list[torch.Tensor]:
        return _partners(z)


class Held(Target):
    """Alternating optimisation in its own words (section 5.2, "Multi-step alternation"): the
    targets of so many steps are those of the encoder before the first of them.

    The paper computes them ahead and keeps them. Here the encoder is kept instead, and makes a
    step's targets when that step comes, from the same views: the same numbers, no memory.
    """

    done: torch.Tensor

    def __init__(self, backbone: nn.Module, projector: nn.Module, *, steps: int) -> None:
        """
        Args:
            backbone, projector: the encoder.
            steps: for which targets are held.
        """
        super().__init__()
        self.encoder = EncoderCopy(backbone, projector)
        self._steps = steps
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Views, views: Views, index: torch.Tensor) -> list[torch.Tensor]:
        return _partners([self.encoder(view) for view in views])

    def after_step(self, backbone: nn.Module, projector: nn.Module) -> None:
        self.done += 1
        keep = (self.done % self._steps != 0).float()
        self.encoder.follow(backbone, projector, keep=keep)


class OtherViews(Target):
    """The mean of the unit projections of all other views: a better sample of the expectation that
    the predictor is said to stand for (section 5.1). Of two views it is the stop-gradient, but for
    the target's length, which no cosine sees.
    """

    is_unit = True

    def forward(self, z: Views, views: Views, index: torch.Tensor) -> list[torch.Tensor]:
        unit = torch.stack([F.normalize(projection.detach().float(), dim=1) for projection in z])
        return list((unit.sum(0) - unit) / (len(unit) - 1))


class PictureAverage(Target):
    """η of each picture is kept, and moves with each of its views (section 5.2, "Expectation over
    augmentations"): v ← velocity × v + (F - η), η ← η + (1 - momentum) v, with F the unit
    projection; without velocity the paper's moving average. The mean over the pair is kept.
    """

    is_unit = True

    eta: torch.Tensor
    moving: torch.Tensor
    seen: torch.Tensor

    def __init__(self, *, momentum: float, velocity: float) -> None:
        """
        Args:
            momentum: share of η that stays (0.8 in the paper).
            velocity: share of the last movement that goes on.
        """
        super().__init__()
        self._momentum, self._velocity = momentum, velocity
        self._ranks = Ranks()

    def begin(self, course: Course, *, width: int) -> None:
        rows = course.num_pictures
        self.register_buffer("eta", torch.zeros(rows, width))
        self.register_buffer("moving", torch.zeros(rows if self._velocity else 0, width))
        self.register_buffer("seen", torch.zeros(rows, dtype=torch.bool))

    def share(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def forward(self, z: Views, views: Views, index: torch.Tensor) -> list[torch.Tensor]:
        seen, eta = self.seen[index][:, None], self.eta[index]
        moves = [F.normalize(projection.detach().float(), dim=1) - eta for projection in z]
        if self._velocity:
            last = self.moving[index]
            moves = [self._velocity * last + move for move in moves]
        # A picture's first view is its first η, at rest.
        found = [torch.where(seen, eta + (1 - self._momentum) * move, eta + move) for move in moves]
        if self.training:
            self._keep(index, found, moves)
        return _partners(found)

    def _keep(
        self, index: torch.Tensor, found: list[torch.Tensor], moves: list[torch.Tensor]
    ) -> None:
        """On all ranks those of all of them: a picture comes to another one in the next epoch."""
        rows = self._ranks.gather(index)
        # In the place of a bad sample a picture may come twice: the first one's is written twice.
        first = (rows[:, None] == rows).int().argmax(dim=1)
        if self._velocity:
            moved = torch.stack(moves).mean(0) * self.seen[index][:, None]
            self.moving[rows] = self._ranks.gather(moved)[first]
        self.eta[rows] = self._ranks.gather(torch.stack(found).mean(0))[first]
        self.seen.index_fill_(0, rows, True)
