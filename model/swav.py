"""SwAV (Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", NeurIPS 2020), and its crossings with SimSiam (Chen and He, section 6.2).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import nn

from .method import Axis, Course, MethodName, ModelConfig, Output
from .ranks import Ranks
from .siamese import Siamese, summarise, without_autocast


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """The section `model` of this method."""

    method: MethodName = "swav"
    """SwAV."""
    projector_layers: Annotated[int, Ge(1), Le(8)] = 2
    """Of the projector."""
    projection_dim: Annotated[int, Ge(1), Le(65_536)] = 128
    """Width of projection and prediction."""
    prototypes: Annotated[int, Ge(2), Le(1_000_000)] = 3000
    """Clusters; 100 for CIFAR-10."""
    temperature: Annotated[float, Gt(0), Le(100)] = 0.1
    """Of the predicted assignments."""
    epsilon: Annotated[float, Gt(0), Le(100)] = 0.05
    """Smoothness of the codes; lower: nearer to one cluster for each picture."""
    sinkhorn_iterations: Annotated[int, Ge(1), Le(100)] = 3
    """Rounds in which the codes are made to use all clusters alike."""
    freeze_epochs: Annotated[int, Ge(0), Le(1_000_000)] = 1
    """Epochs in which the prototypes stay as they are."""
    predictor: Literal["identity", "mlp"] = "identity"
    """mlp: SimSiam's predictor on the view that predicts (6.2)."""
    stop_gradient: bool = True
    """No gradient into the codes; false: through them too (6.2)."""


def build(config: ModelConfig) -> "SwAV":
    """The method of this configuration, with fresh weights."""
    assert isinstance(config, Config)
    return SwAV(config)


class SwAV(Siamese):
    """Each view predicts the cluster that the other one is assigned to.

    Of more than two views (augment.num_views, augment.small_views) codes are made of the first two,
    and all others predict them: multi-crop. The queue for small batches is left out, and
    BatchNorm's statistics are per view, as SimSiam has them.
    """

    axes: ClassVar = {"loss": Axis("swapped prediction", 0), **Siamese.axes}

    done: torch.Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._options = config
        self._ranks = Ranks()
        self._frozen_steps = 0
        self.projector = self.build_projector(output_norm=False)
        self.predictor = self.build_predictor(config.predictor)
        self.prototypes = nn.Linear(config.projection_dim, config.prototypes, bias=False)
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self._normalise_prototypes()

    def begin(self, course: Course) -> None:
        if len(course.sizes) < 2:
            raise ValueError("augment.num_views: swav takes 2 or more views")
        self._frozen_steps = self._options.freeze_epochs * course.steps_per_epoch

    def share(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The swapped prediction; the labels are not used."""
        # Small views first: in BatchNorm's running statistics the last weigh most, and pictures
        # are evaluated at the size of the first two.
        small = [self.encode(view) for view in views[2:]]
        z = [self.encode(view) for view in views[:2]] + small
        p = [self.predictor(projection) for projection in z]
        with without_autocast(views[0]):
            weight = self._prototypes_now()
            codes = [self._encode(_score(projection, weight)) for projection in z[:2]]
            logs = [
                F.log_softmax(_score(prediction, weight) / self._options.temperature, dim=1)
                for prediction in p
            ]
            losses = [
                -(code * log).sum(dim=1).mean()
                for number, code in enumerate(codes)
                for view, log in enumerate(logs)
                if view != number
            ]
        return summarise(torch.stack(losses).mean(), z[:2])

    def _prototypes_now(self) -> torch.Tensor:
        """(K, d); without a gradient in the first epochs. By a flag on the device, which a captured
        graph reads anew.
        """
        weight = self.prototypes.weight.float()
        moves = (self.done >= self._frozen_steps).float()
        return moves * weight + (1 - moves) * weight.detach()

    def _encode(self, scores: torch.Tensor) -> torch.Tensor:
        """(B, K) of one view → codes (B, K), assigned over the rows of all processes."""
        if self._options.stop_gradient:
            scores = scores.detach()
        gathered = self._ranks.gather(scores) / self._options.epsilon
        codes = sinkhorn(gathered, num_iterations=self._options.sinkhorn_iterations)
        return self._ranks.own(codes)

    @torch.no_grad()
    def _normalise_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def move_to(self, step: int) -> None:
        self.done.fill_(step)

    def after_step(self) -> None:
        self.done += 1
        self._normalise_prototypes()


def _score(projection: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """(B, d), (K, d) → (B, K): cosines, the prototypes being unit vectors."""
    return F.normalize(projection.float(), dim=1) @ prototypes.T


def sinkhorn(scores: torch.Tensor, *, num_iterations: int) -> torch.Tensor:
    """Soft assignments that use all clusters alike (SwAV, section 3.1).

    Args:
        scores: (N, K), already divided by ε.
        num_iterations: of scaling columns and rows in turn.

    Returns:
        (N, K), each row a distribution.
    """
    log = scores - torch.logsumexp(scores.flatten(), dim=0)
    for _ in range(num_iterations):
        log = log - torch.logsumexp(log, dim=0, keepdim=True)
        log = log - torch.logsumexp(log, dim=1, keepdim=True)
    return log.exp()
