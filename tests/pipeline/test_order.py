"""Which samples make up each batch, over epochs, ranks and places to begin at."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from swiftsiam.pipeline.order import BatchPlan


def _plan(count: int, batch: int, **settings: Any) -> BatchPlan:
    defaults = {"indices": np.arange(count), "seed": 7, "train": True}
    return BatchPlan(global_batch_size=batch, **(defaults | settings))


def _ranks(world_size: int, *, epoch: int, start: int = 0, **settings: Any) -> list[np.ndarray]:
    """Global batches, put together again from all ranks' shares."""
    plans = [_plan(rank=rank, world_size=world_size, **settings) for rank in range(world_size)]
    shares = [list(plan.batches(epoch, start=start)) for plan in plans]
    return [np.concatenate(batch) for batch in zip(*shares, strict=True)]


_sizes = st.tuples(st.integers(1, 5), st.integers(1, 8)).flatmap(
    lambda size: st.tuples(
        st.integers(max(size[0] * size[1] - 2, 1), size[0] * size[1] + 2), st.just(size[1])
    )
)
"""(samples, batch size) with a number of samples around a multiple of the batch size."""


@given(_sizes, st.integers(0, 3))
def test_each_sample_once_but_for_the_last_partial_batch(size: tuple[int, int], epoch: int) -> None:
    count, batch = size
    batches = list(_plan(count, batch).batches(epoch))
    seen = np.concatenate([*batches, np.empty(0, np.int64)])
    assert len(batches) == _plan(count, batch).num_batches() == count // batch
    assert all(len(rows) == batch for rows in batches)
    assert len(seen) == len(set(seen)) == count // batch * batch
    assert set(seen) <= set(range(count))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("count", [47, 48, 49, 3])
def test_the_global_batches_do_not_depend_on_the_number_of_ranks(
    *, train: bool, count: int
) -> None:
    expected = list(_plan(count, 8, train=train).batches(2))
    for world_size in (2, 4):
        batches = _ranks(world_size, epoch=2, count=count, batch=8, train=train)
        assert len(batches) == len(expected)
        for batch, wanted in zip(batches, expected, strict=True):
            assert np.array_equal(batch[batch >= 0], wanted)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [_plan(50, 8, seed=s).epoch_order(e) for s, e in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    assert len({tuple(order) for order in orders}) == 4
    assert np.array_equal(orders[1], _plan(50, 8, seed=0).epoch_order(1))


def test_the_order_is_a_uniform_permutation() -> None:
    """Every sample at every place equally often, and no sample follows its neighbour more often."""
    count, epochs = 20, 4000
    orders = np.stack([_plan(count, 1).epoch_order(epoch) for epoch in range(epochs)])
    table = np.stack([np.bincount(orders[:, place], minlength=count) for place in range(count)])
    statistic = ((table - epochs / count) ** 2 / (epochs / count)).sum()
    assert stats.chi2.sf(statistic, (count - 1) ** 2) > 1e-4
    follows = (np.diff(orders, axis=1) == 1).sum()
    # Each of the 19 neighbours follows with probability 1/20.
    assert abs(follows / epochs - 19 / 20) < 4 / np.sqrt(epochs)


def test_class_sorted_data_are_mixed_in_every_batch() -> None:
    """A shuffle buffer over a sequential read fails here: its first batch holds few classes."""
    labels = np.repeat(np.arange(20), 500)
    batches = np.stack(list(_plan(len(labels), 200).batches(0)))
    counts = np.stack([np.bincount(labels[batch], minlength=20) for batch in batches])
    # Hypergeometric: 200 of 10,000, of which 500 in the class.
    variance = 200 * 0.05 * 0.95 * (9800 / 9999)
    statistic = ((counts - 10) ** 2 / variance).sum() * 19 / 20
    assert 1e-4 < stats.chi2.sf(statistic, 49 * 19) < 1 - 1e-4
    trend: Any = stats.spearmanr(np.arange(10_000), batches.ravel())
    assert trend.pvalue > 1e-4


def test_a_subset_keeps_the_order_of_the_whole() -> None:
    whole = _plan(100, 4).epoch_order(3)
    subset = np.arange(1, 100, 7)
    drawn = _plan(0, 4, indices=subset).epoch_order(3)
    assert np.array_equal(drawn, whole[np.isin(whole, subset)])


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("train", [True, False])
def test_beginning_in_mid_epoch_continues_the_order(*, world_size: int, train: bool) -> None:
    whole = np.concatenate(_ranks(1, epoch=1, count=61, batch=1, train=train))
    rest = np.concatenate(_ranks(world_size, epoch=1, start=20, count=61, batch=8, train=train))
    expected = whole[20:60] if train else whole[20:]
    assert np.array_equal(rest[rest >= 0], expected)
    plan = _plan(61, 8, train=train)
    assert plan.num_batches(start=20) == len(list(plan.batches(1, start=20)))
    assert plan.num_batches(start=61) == len(list(plan.batches(1, start=61))) == 0


@given(_sizes, st.sampled_from([1, 2, 4]))
def test_evaluation_is_complete_and_even_over_ranks(size: tuple[int, int], world: int) -> None:
    count, batch = size[0], size[1] * world
    plans = [_plan(count, batch, train=False, rank=r, world_size=world) for r in range(world)]
    shares = [list(plan.batches(0)) for plan in plans]
    assert {len(share) for share in shares} == {-(-count // batch)}
    for rows in zip(*shares, strict=True):
        assert len({len(row) for row in rows}) == 1
    seen = np.concatenate([np.concatenate(rows) for rows in zip(*shares, strict=True)])
    assert np.array_equal(seen[seen >= 0], np.arange(count))
    assert (seen < 0).sum() < world
