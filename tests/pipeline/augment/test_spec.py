"""The specification: the paper's numbers, and what it refuses."""

import pickle

import pytest
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    build_eval_spec,
    build_linear_spec,
    build_train_specs,
)
from swiftsiam.pipeline.errors import UserError

_CROP = RandomResizedCrop(size=32)


def test_the_default_is_the_papers() -> None:
    view1, view2 = build_train_specs(AugmentConfig())
    assert view1 == view2
    assert view1.ops == (
        RandomResizedCrop(size=224, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8),
        Grayscale(prob=0.2),
        GaussianBlur(sigma=(0.1, 2.0), prob=0.5),
        HorizontalFlip(prob=0.5),
        Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    )


def test_cifar_is_the_same_without_blur() -> None:
    imagenet, _ = build_train_specs(AugmentConfig(size=32))
    cifar, _ = build_train_specs(AugmentConfig(size=32, preset="cifar"))
    assert cifar.ops == tuple(op for op in imagenet.ops if not isinstance(op, GaussianBlur))
    blurred, _ = build_train_specs(AugmentConfig(size=32, preset="cifar", blur_prob=0.5))
    assert blurred == imagenet


def test_linear_evaluation_crops_and_flips_alone() -> None:
    """As the reference's main_lincls.py: torchvision's RandomResizedCrop as it is by default."""
    spec = build_linear_spec(AugmentConfig(size=64, min_scale=0.5))
    crop = RandomResizedCrop(size=64, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
    assert spec.ops == (crop, HorizontalFlip(prob=0.5), Normalize())


def test_strength_multiplies_all_four_colours() -> None:
    spec, _ = build_train_specs(AugmentConfig(jitter_strength=0.5))
    assert spec.find(ColorJitter) == ColorJitter(
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05
    )


@pytest.mark.parametrize(("size", "resize"), [(224, 256), (32, 37), (448, 512)])
def test_evaluation_keeps_the_ratio_of_256_to_224(size: int, resize: int) -> None:
    spec = build_eval_spec(AugmentConfig(size=size))
    assert spec.ops == (ResizeCenterCrop(size=size, resize=resize), Normalize())


def test_cifar_is_evaluated_whole() -> None:
    spec = build_eval_spec(AugmentConfig(size=32, preset="cifar"))
    assert spec.crop == ResizeCenterCrop(size=32, resize=32)


@pytest.mark.parametrize(
    "ops",
    [
        (),
        (_CROP,),
        (Normalize(),),
        (_CROP, Grayscale(), ColorJitter(), Normalize()),
        (_CROP, HorizontalFlip(), HorizontalFlip(), Normalize()),
        (_CROP, ResizeCenterCrop(size=32, resize=32), Normalize()),
        (_CROP, Normalize(), HorizontalFlip()),
    ],
    ids=["empty", "no normalize", "no crop", "swapped", "twice", "two crops", "flip last"],
)
def test_another_order_is_refused(ops: tuple[Op, ...]) -> None:
    with pytest.raises(UserError, match=r"augment ops .*must be a crop, then any of ColorJitter"):
        AugmentSpec(ops=ops)


def test_a_spec_is_pure_data() -> None:
    spec, other = build_train_specs(AugmentConfig())
    assert hash(spec) == hash(other)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert (spec.size, spec.normalize, spec.find(ResizeCenterCrop)) == (224, Normalize(), None)
