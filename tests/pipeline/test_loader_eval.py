"""Evaluation and subsets: complete, in order, padded over ranks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source

from .conftest import WITHOUT_AND_WITH_WORKERS

MakeLoader = Callable[..., Loader]
RowsOf = Callable[[list[Batch]], dict[int, tuple[torch.Tensor, ...]]]


@pytest.mark.parametrize("num_workers", WITHOUT_AND_WITH_WORKERS)
def test_evaluation_is_complete_and_in_order(
    make_loader: MakeLoader, source: Source, num_workers: int
) -> None:
    batches = list(make_loader(train=False, num_workers=num_workers))
    assert [len(batch.index) for batch in batches] == [4, 4, 4, 4, 4, 3]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(23))
    assert torch.cat([batch.label for batch in batches]).tolist() == source.labels.tolist()
    assert all(len(batch.views) == 1 and batch.mask.all() for batch in batches)


def test_padding_over_ranks(make_loader: MakeLoader, rows_of: RowsOf) -> None:
    expected = rows_of(list(make_loader(train=False)))
    ranks = [list(make_loader(train=False, rank=rank, world_size=2)) for rank in range(2)]
    for shares in zip(*ranks, strict=True):
        assert len({len(share.index) for share in shares}) == 1
    last = ranks[1][-1]
    assert last.index.tolist() == [22, -1]
    assert last.label[1] == -1
    assert last.mask.tolist() == [True, False]
    assert not last.views[0][1].any()
    rows = rows_of(ranks[0] + ranks[1])
    assert rows.keys() == expected.keys()
    assert all(torch.equal(rows[index][0], expected[index][0]) for index in rows)


def test_a_rank_may_get_nothing_but_padding(make_loader: MakeLoader) -> None:
    loader = make_loader(train=False, rank=3, world_size=4, indices=np.arange(5))
    batches = list(loader)
    assert [batch.index.tolist() for batch in batches] == [[3], [-1]]


def test_evaluation_repeats_itself(make_loader: MakeLoader) -> None:
    loader = make_loader(train=False)
    first, second = list(loader), list(loader)
    assert len(first) == len(second) == len(loader) == 6
    assert all(torch.equal(a.views[0], b.views[0]) for a, b in zip(first, second, strict=True))


def test_any_number_of_views(make_loader: MakeLoader) -> None:
    specs = tuple(build_eval_spec(AugmentConfig(size=size)) for size in (16, 24, 8))
    batch = next(iter(make_loader(train=False, specs=specs)))
    assert [view.shape[-1] for view in batch.views] == [16, 24, 8]


@pytest.mark.parametrize("train", [True, False])
def test_a_subset_gives_its_samples_and_no_others(
    make_loader: MakeLoader, rows_of: RowsOf, *, train: bool
) -> None:
    chosen = np.array([1, 2, 3, 5, 8, 13, 21, 22])
    rows = rows_of(list(make_loader(train=train, indices=chosen)))
    assert sorted(rows) == chosen.tolist()
    whole = make_loader(train=train, global_batch_size=23)
    expected = rows_of(list(whole))
    for index, views in rows.items():
        assert all(map(torch.equal, views, expected[index]))


def test_a_subset_keeps_the_order_given_in_evaluation(make_loader: MakeLoader) -> None:
    batches = list(make_loader(train=False, indices=np.array([7, 3, 11])))
    assert batches[0].index.tolist() == [7, 3, 11]
