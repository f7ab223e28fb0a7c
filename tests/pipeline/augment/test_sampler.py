"""The sampler's distributions are torchvision's: the proof, by statistics.

Each parameter is held against draws of torchvision's own `get_params` by two-sample
Kolmogorov-Smirnov or chi-square tests. All seeds are fixed, so a p-value is either always above the
threshold or never. Wrong samplers, of kinds met in the field, go through the same tests and are
rejected.
"""

import math
import random
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from swiftsiam.pipeline.augment.spec import AugmentConfig, AugmentSpec, build_train_specs
from torchvision import transforms

Draw = Callable[..., np.ndarray]
CropSpec = Callable[..., AugmentSpec]

_ACCEPT = 1e-4
_REJECT = 1e-9
_COUNT = 6000
_SCALE, _RATIO = [0.2, 1.0], [3 / 4, 4 / 3]

_SHAPES = [(375, 500), (32, 32), (640, 427), (100, 300), (500, 100), (40, 1000), (9, 7)]
"""Heights and widths. The ten tries fail for some at 100 × 300, for most at 500 × 100, for all at
40 × 1000."""


def _p_value(result: Any) -> float:
    return result.pvalue


def _same(drawn: np.ndarray, wanted: Sequence[float] | np.ndarray) -> float:
    """The p-value of the hypothesis that both have one distribution."""
    return _p_value(stats.ks_2samp(drawn, wanted))


def _torchvision_windows(shape: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """(N, 4): top, left, height, width."""
    torch.manual_seed(seed)
    picture = torch.empty((1, *shape))
    get_params = transforms.RandomResizedCrop.get_params
    return np.array([get_params(picture, _SCALE, _RATIO) for _ in range(_COUNT)])


def _windows(params: np.ndarray) -> np.ndarray:
    return np.stack([params[name] for name in ("top", "left", "height", "width")], axis=1)


def _p_values(drawn: np.ndarray, wanted: np.ndarray, shape: tuple[int, int]) -> dict[str, float]:
    """Of the hypothesis that both have one distribution, for each feature of the windows."""

    def features(windows: np.ndarray) -> dict[str, np.ndarray]:
        top, left, height, width = windows.T
        room_y, room_x = shape[0] - height, shape[1] - width
        return {
            "area": height * width,
            "aspect": np.log(width / height),
            "height": height,
            "width": width,
            "top": top,
            "left": left,
            "relative top": top[room_y > 0] / room_y[room_y > 0],
            "relative left": left[room_x > 0] / room_x[room_x > 0],
        }

    ours, theirs = features(drawn), features(wanted)
    p_values = {
        name: _same(ours[name], theirs[name])
        for name in ours
        if min(len(ours[name]), len(theirs[name]))
    }
    fallback = _fallback(shape)
    hits = [(windows == fallback).all(axis=1).sum() for windows in (drawn, wanted)]
    table = [hits, [len(drawn) - hits[0], len(wanted) - hits[1]]]
    p_values["fallback rate"] = _p_value(stats.fisher_exact(table))
    return p_values


def _fallback(shape: tuple[int, int]) -> np.ndarray:
    """torchvision's central window: what it returns when no try can succeed."""
    get_params = transforms.RandomResizedCrop.get_params
    return np.array(get_params(torch.empty((1, *shape)), [50.0, 50.0], _RATIO))


@pytest.mark.slow
@pytest.mark.parametrize("shape", _SHAPES)
def test_windows_have_torchvisions_distribution(draw: Draw, shape: tuple[int, int]) -> None:
    p_values = _p_values(_windows(draw(_COUNT, shape)), _torchvision_windows(shape), shape)
    assert min(p_values.values()) > _ACCEPT, p_values


def test_the_shapes_cover_the_fallback(draw: Draw) -> None:
    """So that the comparison above is not one of zero with zero."""
    shares = [
        (_windows(draw(_COUNT, shape)) == _fallback(shape)).all(axis=1).mean()
        for shape in ((375, 500), (100, 300), (500, 100), (40, 1000))
    ]
    assert shares[0] < 0.01 < shares[1] < 0.5 < shares[2] < 1 == shares[3]


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (2, 1), (1, 90), (90, 1), (10, 20_000), (20_000, 10), (3, 4), (40, 30)],
)
def test_fallback_windows_are_exactly_torchvisions(
    draw: Draw, crop_spec: CropSpec, shape: tuple[int, int]
) -> None:
    windows = _windows(draw(3, shape, crop_spec(scale=(50.0, 50.0))))
    assert (windows == _fallback(shape)).all()


def _numpy_windows(
    shape: tuple[int, int], *, tries: int = 10, is_ratio_log: bool = True
) -> np.ndarray:
    """torchvision's algorithm once more, with a knob for each of two mistakes."""
    generator = random.Random(0)
    low, high = np.log(_RATIO) if is_ratio_log else _RATIO
    windows = []
    for _ in range(_COUNT):
        window = tuple(_fallback(shape))
        for _ in range(tries):
            area = shape[0] * shape[1] * generator.uniform(*_SCALE)
            drawn = generator.uniform(low, high)
            ratio = math.exp(drawn) if is_ratio_log else drawn
            height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if height <= shape[0] and width <= shape[1]:
                top = generator.randint(0, shape[0] - height)
                window = (top, generator.randint(0, shape[1] - width), height, width)
                break
        windows.append(window)
    return np.array(windows)


def _centred(windows: np.ndarray) -> np.ndarray:
    return np.column_stack([(375 - windows[:, 2]) // 2, windows[:, 1:]])


_PHOTO, _WIDE = (375, 500), (100, 300)
_WRONG = {
    "square crops": (_PHOTO, "aspect", lambda draw, spec: draw(spec(ratio=(1.0, 1.0)))),
    "scale from 0.25": (_PHOTO, "area", lambda draw, spec: draw(spec(scale=(0.25, 1.0)))),
    "centred": (_PHOTO, "relative top", lambda draw, spec: _centred(draw(spec()))),
    "ratio not log-uniform": (
        _PHOTO,
        "aspect",
        lambda *_: _numpy_windows(_PHOTO, is_ratio_log=False),
    ),
    "one try": (_WIDE, "fallback rate", lambda *_: _numpy_windows(_WIDE, tries=1)),
    "seven tries": (_WIDE, "fallback rate", lambda *_: _numpy_windows(_WIDE, tries=7)),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", _WRONG)
def test_the_proof_rejects_wrong_samplers(draw: Draw, crop_spec: CropSpec, mistake: str) -> None:
    shape, feature, draw_wrong = _WRONG[mistake]
    drawn = draw_wrong(lambda spec: _windows(draw(_COUNT, shape, spec)), crop_spec)
    p_values = _p_values(drawn, _torchvision_windows(shape), shape)
    assert p_values[feature] < _REJECT, p_values


@pytest.mark.slow
@pytest.mark.parametrize("shape", [_PHOTO, _WIDE])
def test_the_proof_accepts_another_right_sampler(shape: tuple[int, int]) -> None:
    p_values = _p_values(_numpy_windows(shape), _torchvision_windows(shape), shape)
    assert min(p_values.values()) > _ACCEPT, p_values


@pytest.fixture(scope="module")
def jitters() -> np.ndarray:
    """(N, 8): the order of the four operations and their factors, drawn by torchvision."""
    torch.manual_seed(1)
    ranges = [[0.6, 1.4]] * 3 + [[-0.1, 0.1]]
    drawn = [transforms.ColorJitter.get_params(*ranges) for _ in range(_COUNT)]
    return np.array([[*order.tolist(), *factors] for order, *factors in drawn])


def test_jitter_factors_have_torchvisions_distribution(draw: Draw, jitters: np.ndarray) -> None:
    factors = draw(_COUNT, (64, 64))["jitter_factor"]
    for op in range(4):
        assert _same(factors[:, op], jitters[:, 4 + op]) > _ACCEPT, op
        shrunk = 1 + (factors[:, op] - 1) * 0.9
        assert _same(shrunk, jitters[:, 4 + op]) < _ACCEPT, op


def test_a_strong_jitter_stops_at_zero_as_torchvisions_does(draw: Draw) -> None:
    spec, _ = build_train_specs(AugmentConfig(jitter_strength=2.0))
    factors = draw(_COUNT, (64, 64), spec)["jitter_factor"]
    theirs = transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)
    for op, name in enumerate(("brightness", "contrast", "saturation", "hue")):
        low, high = getattr(theirs, name)
        assert stats.kstest(factors[:, op], "uniform", (low, high - low)).pvalue > _ACCEPT


def _order_counts(orders: np.ndarray) -> list[int]:
    rows = list(map(tuple, orders.astype(int).tolist()))
    return [rows.count(order) for order in permutations(range(4))]


def test_all_24_orders_are_equally_likely(draw: Draw, jitters: np.ndarray) -> None:
    counts = _order_counts(draw(_COUNT, (64, 64))["jitter_order"])
    assert sum(counts) == _COUNT
    assert stats.chisquare(counts).pvalue > _ACCEPT
    assert _p_value(stats.chi2_contingency([counts, _order_counts(jitters[:, :4])])) > _ACCEPT
    rotations_only = [_COUNT // 4 if k in (0, 9, 16, 18) else 0 for k in range(24)]
    assert stats.chisquare(rotations_only, [_COUNT / 24] * 24).pvalue < _REJECT


def test_probabilities(draw: Draw) -> None:
    params = draw(20_000, (64, 64))
    drawn = {name: params[name] > 0 for name in ("jitter", "grayscale", "blur_sigma", "flip")}
    for name, prob in (("jitter", 0.8), ("grayscale", 0.2), ("blur_sigma", 0.5), ("flip", 0.5)):
        assert stats.binomtest(drawn[name].sum(), 20_000, prob).pvalue > _ACCEPT, name
        assert stats.binomtest(drawn[name].sum(), 20_000, prob + 0.05).pvalue < _REJECT, name
    assert stats.binomtest(20_000, 20_000, 0.5).pvalue < _REJECT  # always flipped


def test_sigma_has_the_reference_implementations_distribution(draw: Draw) -> None:
    sigma = draw(20_000, (64, 64))["blur_sigma"]
    generator = random.Random(0)
    wanted = [generator.uniform(0.1, 2.0) for _ in range(10_000)]
    assert _same(sigma[sigma > 0], wanted) > _ACCEPT


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_certain_and_impossible_operations(draw: Draw, prob: float) -> None:
    probs = {f"{op}_prob": prob for op in ("jitter", "grayscale", "blur", "flip")}
    params = draw(2000, (64, 64), build_train_specs(AugmentConfig(**probs))[0])
    for name in ("jitter", "grayscale", "blur_sigma", "flip"):
        assert ((params[name] > 0) == bool(prob)).all(), name
