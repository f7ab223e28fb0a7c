"""MoCo v2 (He et al., CVPR 2020; Chen et al., "Improved Baselines with Momentum Contrastive
Learning", 2020), with the symmetric loss of SimSiam's comparison.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le

from .copies import EncoderCopy, MomentumSchedule
from .method import Axis, Course, MethodName, ModelConfig, Output
from .ranks import Ranks
from .siamese import Siamese, summarise, without_autocast


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """The section `model` of this method."""

    method: MethodName = "moco"
    """MoCo v2."""
    projector_layers: Annotated[int, Ge(1), Le(8)] = 2
    """Of the projector."""
    projection_dim: Annotated[int, Ge(1), Le(65_536)] = 128
    """Width of the projection."""
    temperature: Annotated[float, Gt(0), Le(100)] = 0.2
    """Of the softmax over the other view and the queue."""
    momentum: Annotated[float, Ge(0), Le(1)] = 0.999
    """Share of itself that the momentum encoder keeps in each step; 0.99 for short runs."""
    queue: Annotated[int, Ge(2), Le(10_000_000)] = 65_536
    """Keys of earlier batches to compare with; 4,096 for CIFAR-10."""


def build(config: ModelConfig) -> "MoCo":
    """The method of this configuration, with fresh weights."""
    assert isinstance(config, Config)
    return MoCo(config)


class MoCo(Siamese):
    """Each view is to find the other view's key among those of earlier batches.

    The keys of both views are queued. BatchNorm takes the statistics of all processes together, in
    whose place MoCo's own code shuffles the keys over the processes; the projector has none.
    """

    axes: ClassVar = {"loss": Axis("InfoNCE", 0), **Siamese.axes}

    queue: torch.Tensor
    place: torch.Tensor
    newest: torch.Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._temperature = config.temperature
        self._ranks = Ranks()
        self.projector = self.build_projector(hidden_norm=False, output_norm=False)
        self.predictor = self.build_predictor("identity")
        self.momentum_encoder = EncoderCopy(self.backbone, self.projector)
        self.schedule = MomentumSchedule(config.momentum, rises=False)
        keys = F.normalize(torch.randn(config.queue, config.projection_dim), dim=1)
        self.register_buffer("queue", keys)
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def begin(self, course: Course) -> None:
        super().begin(course)
        if len(self.queue) < 2 * course.batch_size:
            raise ValueError(
                f"model.queue={len(self.queue)}: a batch brings {2 * course.batch_size} keys; set "
                f"model.queue={2 * course.batch_size} or more"
            )
        # Not put into the queue before the backward pass has read it: the compiler of torch 2.14
        # drops a copy that is there for that alone, and gradients are then wrong by their half.
        self.register_buffer(
            "newest",
            torch.zeros(2 * course.batch_size, self.config.projection_dim),
            persistent=False,
        )

    def share(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The symmetric InfoNCE of two views; the labels are not used."""
        z1, z2 = (self.encode(view) for view in views)
        key1, key2 = (F.normalize(self.momentum_encoder(view).float(), dim=1) for view in views)
        with without_autocast(views[0]):
            loss = 0.5 * self._compare(z1, key2) + 0.5 * self._compare(z2, key1)
        if self.training:
            # Those of all processes, which all keep the same queue.
            self.newest.copy_(torch.cat([self._ranks.gather(key) for key in (key1, key2)]))
        return summarise(loss, [z1, z2])

    def _compare(self, projection: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        query = F.normalize(projection.float(), dim=1)
        same = (query * key).sum(dim=1, keepdim=True)
        logits = torch.cat([same, query @ self.queue.T], dim=1) / self._temperature
        return F.cross_entropy(logits, torch.zeros_like(logits[:, 0], dtype=torch.int64))

    def after_step(self) -> None:
        """The newest keys in the place of the oldest, and the momentum encoder a step on."""
        rows = torch.arange(len(self.newest), device=self.queue.device)
        self.queue[(self.place + rows) % len(self.queue)] = self.newest
        self.place += len(self.newest)
        keep = self.schedule.step()
        self.momentum_encoder.follow(self.backbone, self.projector, keep=keep)
