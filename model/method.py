"""What a pre-training method is to the trainer: a loss, its figures, its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Le
from pydantic import ConfigDict
from torch import nn

from . import METHODS
from .backbones import BackboneText
from .ranks import Ranks

if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal[tuple(METHODS)]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The section `model` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    method: MethodName = "simsiam"
    """What is trained around the backbone."""
    backbone: BackboneText = "resnet50"
    """resnet18, 34, 50, 101 or 152; cifar_resnet18 (3×3 stem), _w32 and _w16 (narrower); or any
    classifier of two libraries: torchvision/NAME (torchvision/convnext_tiny), timm/NAME
    (timm/vit_small_patch16_224)."""
    projector_layers: Annotated[int, Ge(1), Le(8)] = 3
    """3 for ImageNet, 2 for CIFAR-10."""
    projector_hidden: Annotated[int, Ge(1), Le(65_536)] | None = None
    """Hidden width; null: the backbone's own, as in the reference code (2048 for ResNet-50)."""
    projection_dim: Annotated[int, Ge(1), Le(65_536)] = 2048
    """Width of projection and prediction."""
    predictor_hidden: Annotated[int, Ge(1), Le(65_536)] | None = None
    """The predictor's bottleneck; null: a quarter of projection_dim."""


class Output(NamedTuple):
    """Of one step."""

    loss: torch.Tensor
    """Scalar, float32."""
    figures: dict[str, torch.Tensor]
    """Scalars, detached, cheap: means over the steps are logged under these names."""
    projections: tuple[torch.Tensor, ...]
    """(B, projection_dim) of each view, detached; for `Method.inspect`."""


class Course(NamedTuple):
    """What a method may know of the training ahead of it."""

    sizes: tuple[int, ...]
    """Sides of the views of a picture, px."""
    num_pictures: int
    """Indices of pictures are below it."""
    batch_size: int
    """Pictures a step, over all processes."""
    steps_per_epoch: int
    num_steps: int
    """Of the whole run."""


class Axis(NamedTuple):
    """How a figure is drawn."""

    title: str
    low: float | None = None
    high: float | None = None


class Group(NamedTuple):
    """Parameters that share a learning rate."""

    parameters: list[nn.Parameter]
    decays: bool
    """Whether the rate follows the schedule; otherwise it stays, but for the warm-up."""
    scale: float = 1.0
    """Of the rate, over that of the other groups."""


class Method(nn.Module):
    """A network and its loss. A figure that it adds is logged, drawn and shown by itself."""

    axes: ClassVar[Mapping[str, Axis]] = {}
    """Of figures (`loss` too) that should be drawn under more than their name."""

    marks: ClassVar[Literal["label", "index"]] = "label"
    """What `forward` is told of each picture beside its views."""

    keeps_pictures: str = ""
    """The key, with its value, by which its state holds something of each picture; or none."""

    least_rows: int = 1
    """Pictures of a process of which `diagnose` can tell anything."""

    backbone: nn.Module
    """What is kept: views (B, 3, H, W) → features (B, num_features)."""
    num_features: int

    def begin(self, course: Course) -> None:
        """Called once, before the method is moved to its device; what depends on the data is made
        here.

        Raises:
            ValueError: it cannot be trained so; names the key, its value and the remedy.
        """

    def share(self, ranks: Ranks) -> None:
        """Called once where several processes share each batch; a loss that compares pictures with
        each other takes those of all of them (`Ranks.gather`).
        """

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The loss of one batch, of this process's rows.

        Args:
            views: each (B, 3, H, W), normalised, of the same pictures.
            labels: (B,) int64, as `marks` has it: class numbers, -1 without a label; or indices
                of pictures. Tensors instead of a `Batch`, so that compiled graphs see nothing else.
        """
        raise NotImplementedError

    def inspect(self, output: Output) -> dict[str, torch.Tensor]:
        """Figures that may be slow, or wait for the device: of the last batch of an epoch."""
        return {}

    def diagnose(self, figures: Mapping[str, float]) -> str | None:
        """What is wrong with training by the means since the last log point, with its likely
        cause; None: nothing is.

        Args:
            figures: `loss` and those of `Output`; at an epoch's end those of `inspect` as well.
        """
        return None

    def parameter_groups(self) -> list[Group]:
        """All that is trained."""
        return [Group([p for p in self.parameters() if p.requires_grad], decays=True)]

    def move_to(self, step: int) -> None:
        """Called where training goes on over other pictures: the next step is this one of the
        course that `begin` has told, however many were made before.
        """

    def after_step(self) -> None:
        """Called behind each update, such as for a moving average; nothing here may wait."""


def build_method(config: ModelConfig) -> Method:
    """The method of this configuration, with fresh weights, on the CPU."""
    return import_module(METHODS[config.method], __package__).build(config)


def config_class(name: str) -> type[ModelConfig]:
    """The section `model` of a method: `ModelConfig`, or what its module derives from it."""
    return getattr(import_module(METHODS[name], __package__), "Config", ModelConfig)
