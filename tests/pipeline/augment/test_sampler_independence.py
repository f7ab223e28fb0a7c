"""A view's parameters depend on its coordinates alone, and not on those of any other view."""

from collections.abc import Callable

import numpy as np
import pytest
from swiftsiam.pipeline.augment.sampler import PARAMS, draw_view, draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs

Draw = Callable[..., np.ndarray]

_COUNT = 20_000
_SHAPE = (400, 400)
_CHANCE = 4.9
"""Standard deviations. Of the 2,000 correlations here one over 4 would surprise nobody (one choice
of seeds in eight has it), one over this would (one in 500)."""


def _features(params: np.ndarray) -> np.ndarray:
    """(N, 14) numbers that hold all of a record, none a function of another."""
    free_y = np.maximum(_SHAPE[0] - params["height"], 1)
    free_x = np.maximum(_SHAPE[1] - params["width"], 1)
    blurred = params["blur_sigma"] > 0
    return np.column_stack(
        [
            params["height"] * params["width"],
            np.log(params["width"] / params["height"]),
            (params["top"] + 0.5) / (free_y + 1),
            (params["left"] + 0.5) / (free_x + 1),
            params["jitter"],
            params["jitter_factor"],
            params["jitter_order"][:, 0],
            params["jitter_order"][:, 1] > params["jitter_order"][:, 2],
            params["grayscale"],
            params["flip"],
            blurred,
        ]
    )


def _strongest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest correlation of any feature with any other, in standard deviations of chance."""
    both = np.corrcoef(_features(a), _features(b), rowvar=False)
    half = len(both) // 2
    return np.abs(both[:half, half:]).max() * np.sqrt(len(a))


@pytest.mark.parametrize(
    "other",
    [
        {"view": 1},
        {"epoch": 1},
        {"epoch": 1, "view": 1},
        {"indices": np.arange(1, _COUNT + 1)},
        {"indices": np.arange(2**32, 2**32 + _COUNT)},
        {"seed": 1},
        {"seed": 2**32},
        {"seed": 1, "indices": np.arange(1, _COUNT + 1)},
    ],
    ids=lambda other: ", ".join(other),
)
def test_neighbours_are_uncorrelated(draw: Draw, other: dict) -> None:
    first = draw(_COUNT, _SHAPE)
    second = draw(**{"indices": _COUNT, "shape": _SHAPE} | other)
    assert _strongest(first, second) < _CHANCE


def test_the_test_sees_repeated_parameters(draw: Draw) -> None:
    """As a fork of FFCV repeats them in each epoch, or as views that share one of them."""
    first, second = draw(_COUNT, _SHAPE), draw(_COUNT, _SHAPE, epoch=1)
    assert _strongest(first, first) > 100
    second["flip"] = first["flip"]
    assert _strongest(first, second) > 100


def test_a_views_own_parameters_are_uncorrelated(draw: Draw) -> None:
    correlations = np.corrcoef(_features(draw(_COUNT, _SHAPE)), rowvar=False)
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() * np.sqrt(_COUNT) < _CHANCE


def test_along_epochs_a_sample_is_uncorrelated(draw: Draw) -> None:
    params = np.concatenate([draw(np.array([17]), _SHAPE, epoch=e) for e in range(4001)])
    assert _strongest(params[:-1], params[1:]) < _CHANCE


def test_records_do_not_depend_on_the_batch(draw: Draw) -> None:
    whole = draw(100, _SHAPE, seed=3, epoch=2, view=1)
    order = np.random.default_rng(0).permutation(100)
    assert np.array_equal(draw(order, _SHAPE, seed=3, epoch=2, view=1), whole[order])
    for index in (0, 57):
        alone = draw(np.array([index]), _SHAPE, seed=3, epoch=2, view=1)
        assert np.array_equal(alone, whole[[index]])


def test_sizes_of_other_samples_play_no_part(draw: Draw) -> None:
    spec = pack_spec(build_train_specs(AugmentConfig())[0])
    heights, widths = np.random.default_rng(1).integers(1, 500, (2, 50))
    at = {"seed": 1, "epoch": 4, "view": 0}
    mixed = draw_views(spec, indices=np.arange(50), heights=heights, widths=widths, **at)
    for index in range(50):
        shape = (heights[index], widths[index])
        assert np.array_equal(draw(np.array([index]), shape, **at), mixed[[index]])


def test_compiled_code_draws_the_same_one_by_one(draw: Draw) -> None:
    spec = pack_spec(build_train_specs(AugmentConfig())[0])
    one = np.zeros(1, PARAMS)
    # The record of another view must not shine through.
    one.view(np.uint8)[:] = 255
    draw_view(spec[0], np.uint64(9), np.uint64(2), np.int64(5), np.uint64(1), 300, 200, one[0])
    wanted = draw(np.array([5]), (300, 200), seed=9, epoch=2, view=1)
    assert all(np.array_equal(one[name], wanted[name]) for name in PARAMS.names if name[0] != "_")


def test_leaving_an_operation_out_changes_no_other_parameter(draw: Draw) -> None:
    whole = draw(200, _SHAPE)
    plain = draw(200, _SHAPE, build_train_specs(AugmentConfig(preset="cifar", jitter_prob=0))[0])
    for name in ("top", "left", "height", "width", "flip", "grayscale", "jitter_order"):
        assert np.array_equal(whole[name], plain[name]), name
