"""SimCLR (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
ICML 2020), and its crossings with SimSiam (Chen and He, section 6.2).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le

from .method import Axis, MethodName, ModelConfig, Output
from .ranks import Ranks
from .siamese import Siamese, summarise, without_autocast


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """The section `model` of this method."""

    method: MethodName = "simclr"
    """SimCLR."""
    projector_layers: Annotated[int, Ge(1), Le(8)] = 2
    """Of the projector; 3 in SimSiam's comparison."""
    projection_dim: Annotated[int, Ge(1), Le(65_536)] = 128
    """Width of projection and prediction."""
    temperature: Annotated[float, Gt(0), Le(100)] = 0.1
    """Of the softmax over all other views; 0.1 for ImageNet, 0.5 for CIFAR-10."""
    predictor: Literal["identity", "mlp"] = "identity"
    """mlp: SimSiam's predictor on the view that is compared with the others (6.2)."""
    stop_gradient: bool = False
    """No gradient into what a view is compared with (6.2)."""


def build(config: ModelConfig) -> "SimCLR":
    """The method of this configuration, with fresh weights."""
    assert isinstance(config, Config)
    return SimCLR(config)


class SimCLR(Siamese):
    """Each view is to find the other view of its picture among all others of the batch.

    BatchNorm's statistics are per view, as SimSiam has them; SimCLR's own code takes both together.
    """

    axes: ClassVar = {"loss": Axis("NT-Xent", 0), **Siamese.axes}

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._temperature, self._stops = config.temperature, config.stop_gradient
        self._ranks = Ranks()
        self.projector = self.build_projector()
        self.predictor = self.build_predictor(config.predictor)

    def share(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """NT-Xent over the rows of all processes; the labels are not used."""
        z = [self.encode(view) for view in views]
        p = [self.predictor(projection) for projection in z]
        keys = [projection.detach() for projection in z] if self._stops else z
        with without_autocast(views[0]):
            loss = nt_xent(p, keys, temperature=self._temperature, ranks=self._ranks)
        return summarise(loss, z)


def nt_xent(
    queries: list[torch.Tensor],
    keys: list[torch.Tensor],
    *,
    temperature: float,
    ranks: Ranks,
) -> torch.Tensor:
    """The normalised, temperature-scaled cross-entropy, mean over this process's 2 B queries.

    Args:
        queries: (B, d) of each of the two views.
        keys: (B, d) likewise; a query is never compared with the key of its own view.
        temperature: of the softmax.
        ranks: the processes whose keys are compared with.
    """
    gathered = torch.cat([ranks.gather(F.normalize(key.float(), dim=1)) for key in keys])
    unit = torch.cat([F.normalize(query.float(), dim=1) for query in queries])
    count = len(gathered) // 2
    row = torch.arange(count, device=unit.device)
    first = ranks.own(row)
    own, other = torch.cat([first, first + count]), torch.cat([first + count, first])
    logits = (unit @ gathered.T / temperature).scatter(1, own[:, None], -torch.inf)
    return F.cross_entropy(logits, other)
