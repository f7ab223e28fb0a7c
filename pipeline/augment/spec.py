"""What is done to a picture, as data: an ordered list of operations, one list per view.

The order and the numbers are those of the SimSiam paper (section 3, "Baseline settings", and
appendix D for CIFAR) and of its reference implementation.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeVar

from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict

from ..errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

OpT = TypeVar("OpT")

Probability = Annotated[float, Ge(0), Le(1)]
Size = Annotated[int, Ge(8), Le(1024)]


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop:
    """A random window, resized with antialiased bilinear interpolation."""

    size: int
    """Side of the square view, px."""
    scale: tuple[float, float] = (0.2, 1.0)
    """Range of the window's area over the picture's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Range of the window's width over its height, drawn log-uniformly."""


@dataclass(frozen=True, kw_only=True)
class ResizeCenterCrop:
    """The evaluation view: the shorter side resized to `resize`, then the centre cut out."""

    size: int
    """Side of the square view, px."""
    resize: int
    """The shorter side after resizing, px; at least `size`."""


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue, in a random order, all four or none."""

    brightness: float = 0.4
    """The factor is uniform in [max(0, 1 - b), 1 + b]; likewise for the next two."""
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    """The shift is uniform in [-h, h], in turns of the colour circle."""
    prob: float = 0.8


@dataclass(frozen=True, kw_only=True)
class Grayscale:
    """All channels replaced by the luma."""

    prob: float = 0.2


@dataclass(frozen=True, kw_only=True)
class GaussianBlur:
    """A true Gaussian, edges replicated; Pillow's radius means this sigma."""

    sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the standard deviation, px of the view."""
    prob: float = 0.5


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip:
    """Left and right exchanged."""

    prob: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """(x / 255 - mean) / std, per channel."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


CropOp = RandomResizedCrop | ResizeCenterCrop
Op = CropOp | ColorJitter | Grayscale | GaussianBlur | HorizontalFlip | Normalize

# Every kernel works in this order; an engine need not search for another.
CANONICAL_ORDER = (
    (RandomResizedCrop, ResizeCenterCrop),
    (ColorJitter,),
    (Grayscale,),
    (GaussianBlur,),
    (HorizontalFlip,),
    (Normalize,),
)


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """The ordered operations that make one view. Pure data: hashable, comparable, picklable.

    Raises:
        UserError: the operations do not start with a crop and end with `Normalize`, stand in
            another order than `CANONICAL_ORDER`, or one of them occurs twice.
    """

    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        places = [self._place(op) for op in self.ops]
        complete = bool(places) and places[0] == 0 and places[-1] == len(CANONICAL_ORDER) - 1
        if not complete or places != sorted(set(places)):
            names = [type(op).__name__ for op in self.ops]
            raise UserError(
                f"augment ops {names}: must be a crop, then any of ColorJitter, Grayscale, "
                "GaussianBlur, HorizontalFlip in this order, then Normalize"
            )

    @staticmethod
    def _place(op: Op) -> int:
        return next(i for i, types in enumerate(CANONICAL_ORDER) if isinstance(op, types))

    def find(self, kind: type[OpT]) -> OpT | None:
        """The operation of this type, or None where the spec has none."""
        return next((op for op in self.ops if isinstance(op, kind)), None)

    @property
    def crop(self) -> CropOp:
        """The first operation."""
        op = self.ops[0]
        assert isinstance(op, RandomResizedCrop | ResizeCenterCrop)
        return op

    @property
    def normalize(self) -> Normalize:
        """The last operation."""
        op = self.ops[-1]
        assert isinstance(op, Normalize)
        return op

    @property
    def size(self) -> int:
        """Side of the view, px."""
        return self.crop.size


def group_views(specs: tuple[AugmentSpec, ...]) -> tuple[tuple[int, ...], ...]:
    """Numbers of the views that a GPU can finish in one launch, since they differ in nothing that
    `gpu.make_views` looks at: size, greatest blur, normalisation.
    """
    groups: dict[object, list[int]] = {}
    for number, spec in enumerate(specs):
        blur = spec.find(GaussianBlur)
        key = spec.size, blur and blur.sigma[1], spec.normalize
        groups.setdefault(key, []).append(number)
    return tuple(map(tuple, groups.values()))


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """The section `augment` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    preset: Literal["imagenet", "cifar"] = "imagenet"
    """`imagenet`: the paper's augmentation; `cifar`: the same without blur (appendix D)."""
    size: Size = 224
    """Side of each view, px."""
    min_scale: Annotated[float, Gt(0), Le(1)] = 0.2
    """Smallest area of a crop over the picture's area."""
    jitter_prob: Probability = 0.8
    """How often the colours are jittered."""
    jitter_strength: Annotated[float, Ge(0), Le(2)] = 1.0
    """Multiplies brightness, contrast, saturation (0.4 each) and hue (0.1)."""
    grayscale_prob: Probability = 0.2
    """How often a view loses its colours."""
    blur_prob: Probability | None = None
    """How often a view is blurred; null: the preset's own (imagenet 0.5, cifar 0)."""
    flip_prob: Probability = 0.5
    """How often a view is mirrored."""
    num_views: Annotated[int, Ge(2), Le(64)] = 2
    """Views of this size; SimSiam takes 2."""
    small_views: Annotated[int, Ge(0), Le(64)] = 0
    """Smaller views besides: multi-crop, for methods that take them (swav)."""
    small_size: Size = 96
    """Side of each smaller view, px."""
    small_min_scale: Annotated[float, Gt(0), Le(1)] = 0.05
    """Smallest area of a smaller view's crop over the picture's area; the largest is min_scale."""
    ops: Literal["kernel", "oracle"] = "kernel"
    """`oracle` runs the slow float64 reference instead of the kernel, for checking."""


def build_train_specs(config: AugmentConfig) -> tuple[AugmentSpec, ...]:
    """The two views of SimSiam pre-training: the same distribution, drawn independently; and what
    more of them is asked for, the smaller ones last.

    Raises:
        UserError: a smaller view's crops have no range.
    """
    view = _build_view(config, size=config.size, scale=(config.min_scale, 1.0))
    if not config.small_views:
        return (view,) * config.num_views
    if config.small_min_scale > config.min_scale:
        raise UserError(
            f"augment.small_min_scale={config.small_min_scale:g}: above "
            f"augment.min_scale={config.min_scale:g}, the largest area of a smaller view's crop"
        )
    scale = (config.small_min_scale, config.min_scale)
    small = _build_view(config, size=config.small_size, scale=scale)
    return (view,) * config.num_views + (small,) * config.small_views


def _build_view(config: AugmentConfig, *, size: int, scale: tuple[float, float]) -> AugmentSpec:
    preset_blur = {"imagenet": 0.5, "cifar": 0.0}[config.preset]
    blur_prob = preset_blur if config.blur_prob is None else config.blur_prob
    strength = config.jitter_strength
    jitter = ColorJitter(
        brightness=0.4 * strength,
        contrast=0.4 * strength,
        saturation=0.4 * strength,
        hue=0.1 * strength,
        prob=config.jitter_prob,
    )
    ops: list[Op] = [RandomResizedCrop(size=size, scale=scale), jitter]
    ops.append(Grayscale(prob=config.grayscale_prob))
    if blur_prob > 0:
        ops.append(GaussianBlur(prob=blur_prob))
    ops += [HorizontalFlip(prob=config.flip_prob), Normalize()]
    return AugmentSpec(ops=tuple(ops))


def build_linear_spec(config: AugmentConfig) -> AugmentSpec:
    """The training view of linear evaluation: a crop of 8 to 100 % of the area, and the flip."""
    crop = RandomResizedCrop(size=config.size, scale=(0.08, 1.0))
    return AugmentSpec(ops=(crop, HorizontalFlip(), Normalize()))


def build_eval_spec(config: AugmentConfig) -> AugmentSpec:
    """The evaluation view: 256 → 224, the same ratio at other sizes; cifar: the whole picture."""
    resize = config.size if config.preset == "cifar" else round(config.size * 256 / 224)
    return AugmentSpec(ops=(ResizeCenterCrop(size=config.size, resize=resize), Normalize()))
