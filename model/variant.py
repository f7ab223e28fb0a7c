"""SimSiam with its parts exchanged, as the paper does it to see which of them matter (sections 4
and 5). Every default is SimSiam's own, and trains to the same bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le, Lt

from .method import Axis, Course, MethodName, ModelConfig, Output
from .ranks import Ranks
from .siamese import Siamese, summarise
from .simsiam import COLLAPSED_LOSS, COLLAPSED_STD, LEAST_ROWS, negative_cosine
from .targets import Held, OtherViews, PictureAverage, Shared, Target


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """The section `model` of this method."""

    method: MethodName = "simsiam_variant"
    """SimSiam with its parts exchanged."""
    predictor: Literal["mlp", "identity", "fixed"] = "mlp"
    """identity: none, the projection is compared; fixed: as it is at random initialisation."""
    predictor_layers: Annotated[int, Ge(1), Le(8)] = 2
    """Linear layers of it; 1: none is hidden."""
    head_norm: Literal["nowhere", "hidden", "output", "predictor"] = "output"
    """Where BNs stand (4.4): nowhere; in the hidden layers; at the projector's output too, as in
    the paper; or at the predictor's output as well.
    """
    similarity: Literal["cosine", "cross_entropy"] = "cosine"
    """cross_entropy: of softmaxes along the channels (4.5)."""
    symmetry: Literal["symmetric", "asymmetric"] = "symmetric"
    """asymmetric: only the first view of a pair is drawn to the second (4.6); with
    augment.num_views=4 there are two pairs, the paper's "asymmetric, 2x".
    """
    target: Literal["stop_gradient", "shared", "held", "picture_average", "other_views"] = (
        "stop_gradient"
    )
    """What a prediction is drawn to: the other view's projection, without gradient or with (shared:
    no stop-gradient); that of the encoder some steps ago (held); a moving average of the picture's
    projections over the epochs; or the mean over all other views (augment.num_views).
    """
    hold_steps: Annotated[int, Ge(1), Le(1_000_000_000)] = 1
    """Of held: targets are those of the encoder at the beginning of so many steps (5.2)."""
    target_momentum: Annotated[float, Ge(0), Lt(1)] = 0.8
    """Of picture_average: the share of the average that stays (5.2)."""
    target_velocity: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Of picture_average: the share of its last movement that goes on; 0: the paper's average."""


def build(config: ModelConfig) -> "Variant":
    """The method of this configuration, with fresh weights."""
    assert isinstance(config, Config)
    return Variant(config)


def cross_entropy(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """D(p, z) = -softmax(z) · log softmax(p), mean over the batch, in float32 (section 4.5)."""
    return F.cross_entropy(prediction.float(), target.float().softmax(dim=1))


# On CIFAR-10 without BN at the output: 0.048 and 0.061 after 880 steps where the projections become
# one (losses of -0.999, -0.997), and 0.76 where they do not; without any BN in the heads 0.28.
_LITTLE_SPREAD = 0.1
_WITHOUT = (
    (("hold_steps",), "target", ("held",)),
    (("target_momentum", "target_velocity"), "target", ("picture_average",)),
    (("predictor_layers",), "predictor", ("mlp", "fixed")),
)
"""Keys, and the values of another one with which alone they do something."""
_SIMILARITIES = {"cosine": negative_cosine, "cross_entropy": cross_entropy}


class Variant(Siamese):
    """An encoder, a predictor, a rule for targets and a similarity."""

    marks = "index"
    axes: ClassVar = {"loss": Axis("loss"), **Siamese.axes}

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._options = config
        if config.target == "picture_average":
            self.keeps_pictures = "model.target=picture_average"
        norm = config.head_norm
        self._is_symmetric = config.symmetry == "symmetric"
        self._is_cosine = config.similarity == "cosine"
        has_output_norm = norm in ("output", "predictor")
        if self._is_cosine:
            self.collapsed_std = COLLAPSED_STD if has_output_norm else _LITTLE_SPREAD
            self.least_rows = LEAST_ROWS
        self._distance = _SIMILARITIES[config.similarity]
        self.projector = self.build_projector(
            hidden_norm=norm != "nowhere", output_norm=has_output_norm
        )
        self.predictor = self.build_predictor(
            "identity" if config.predictor == "identity" else "mlp",
            num_layers=config.predictor_layers,
            hidden_norm=norm != "nowhere",
            output_norm=norm == "predictor",
        )
        if config.predictor == "fixed":
            self.predictor.requires_grad_(False)
        self.target = self._build_target(config)

    def _build_target(self, config: Config) -> Target:
        match config.target:
            case "stop_gradient":
                return Target()
            case "shared":
                return Shared()
            case "held":
                return Held(self.backbone, self.projector, steps=config.hold_steps)
            case "other_views":
                return OtherViews()
            case "picture_average":
                return PictureAverage(
                    momentum=config.target_momentum, velocity=config.target_velocity
                )

    def begin(self, course: Course) -> None:
        if len(course.sizes) % 2 or len(set(course.sizes)) > 1:
            raise ValueError(
                f"augment: views of {', '.join(map(str, course.sizes))} px, and model.method="
                f"{self.config.method} takes pairs of one size; set augment.num_views=2 or 4, and "
                "augment.small_views=0"
            )
        if not self._is_cosine and self.target.is_unit:
            raise ValueError(
                f"model.similarity=cross_entropy: model.target={self._options.target} gives unit "
                "vectors, whose softmax says nothing; set model.similarity=cosine"
            )
        self._refuse_idle_keys()
        self.target.begin(course, width=self.config.projection_dim)

    def _refuse_idle_keys(self) -> None:
        """One that is given and does nothing would be taken for a result."""
        options, default = self._options, Config()
        for names, key, values in _WITHOUT:
            if getattr(options, key) in values:
                continue
            for name in names:
                if (value := getattr(options, name)) != getattr(default, name):
                    raise ValueError(
                        f"model.{name}={value}: does nothing with model.{key}="
                        f"{getattr(options, key)}; leave it out, or set model.{key}={values[0]}"
                    )

    def share(self, ranks: Ranks) -> None:
        self.target.share(ranks)

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Output:
        """The mean over the pairs of views; `labels` are indices of pictures."""
        z = [self.encode(view) for view in views]
        targets = self.target(z, views, labels)
        predicted = range(0, len(views), 1 if self._is_symmetric else 2)
        predictions = [self.predictor(z[number]) for number in predicted]
        losses = [
            self._distance(prediction, targets[number]) / len(predicted)
            for number, prediction in zip(predicted, predictions, strict=True)
        ]
        return summarise(torch.stack(losses).sum(), z)

    def diagnose(self, figures: Mapping[str, float]) -> str | None:
        """Collapse (section 4.1): as SimSiam's, where BN at the projector's output keeps z_std up.
        Without it z_std may be low from the beginning, and goes to zero.
        """
        z_std, loss = figures.get("z_std", 1.0), figures["loss"]
        if self._is_cosine and (z_std > self.collapsed_std or loss > COLLAPSED_LOSS):
            return None
        return super().diagnose(figures)

    def after_step(self) -> None:
        self.target.after_step(self.backbone, self.projector)
