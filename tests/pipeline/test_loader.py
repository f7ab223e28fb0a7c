"""The loader's contract: what a batch is, and that each holds what was promised."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment import reference
from swiftsiam.pipeline.augment.sampler import draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source

from .conftest import WITHOUT_AND_WITH_WORKERS

SIZE, COUNT = 16, 23
MakeLoader = Callable[..., Loader]
RowsOf = Callable[[list[Batch]], dict[int, tuple[torch.Tensor, ...]]]


def _equal(a: Batch, b: Batch) -> bool:
    pairs = zip((*a.views, a.label, a.index), (*b.views, b.label, b.index), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def _rows_equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(x, y) for index in a for x, y in zip(a[index], b[index], strict=True)
    )


@pytest.mark.parametrize("num_workers", WITHOUT_AND_WITH_WORKERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_batches(
    make_loader: MakeLoader, source: Source, dtype: torch.dtype, num_workers: int
) -> None:
    batches = list(make_loader(dtype=dtype, num_workers=num_workers))
    assert len(batches) == COUNT // 4
    for batch in batches:
        assert len(batch.views) == 2
        for view in batch.views:
            assert view.shape == (4, 3, SIZE, SIZE)
            assert view.dtype == dtype
            assert view.is_contiguous(memory_format=torch.channels_last)
            assert view.device.type == "cpu"
            assert view.isfinite().all()
            assert view.float().std() > 0.1
        assert batch.label.dtype == batch.index.dtype == torch.int64
        assert batch.label.tolist() == source.labels[batch.index.numpy()].tolist()
        assert batch.mask.all()
    indices = torch.cat([batch.index for batch in batches]).tolist()
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(COUNT))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("batch_size", [2, 4, 22, 24])
def test_len_is_what_is_yielded_on_every_rank(
    make_loader: MakeLoader, *, batch_size: int, world_size: int, train: bool
) -> None:
    """24 is more than there are: nothing to train on, one batch to evaluate."""
    settings = {"global_batch_size": batch_size, "train": train, "world_size": world_size}
    if train and batch_size > COUNT:
        with pytest.raises(UserError, match=r"train\.batch_size=24: larger than .* 23 pictures"):
            make_loader(**settings)
        return
    loaders = [make_loader(rank=rank, **settings) for rank in range(world_size)]
    expected = COUNT // batch_size if train else -(-COUNT // batch_size)
    for loader in loaders:
        assert len(loader) == loader.batches_per_epoch == expected
        batches = list(loader)
        assert len(batches) == expected
        assert len(loader) == expected  # of the next epoch
        if train:
            assert {len(batch.index) for batch in batches} == {batch_size // world_size}


@pytest.mark.parametrize("num_workers", WITHOUT_AND_WITH_WORKERS)
def test_tensors_are_the_callers_own(make_loader: MakeLoader, num_workers: int) -> None:
    """A loader that hands out slots of a ring overwrites those kept here."""
    loader = make_loader(global_batch_size=2, num_workers=num_workers)
    kept = list(loader)
    copies = []
    loader.set_epoch(0)
    for batch in loader:
        copies.append(
            Batch(
                tuple(v.clone() for v in batch.views), *map(torch.clone, (batch.label, batch.index))
            )
        )
        for tensor in (*batch.views, batch.label, batch.index):
            tensor.zero_()
    assert len(kept) == len(copies) == 11
    assert all(map(_equal, kept, copies))
    assert len({view.data_ptr() for batch in kept for view in batch.views}) == 22


@pytest.mark.slow
def test_the_same_views_for_any_ranks_batches_and_workers(
    make_loader: MakeLoader, rows_of: RowsOf
) -> None:
    expected = rows_of(list(make_loader()))
    assert len(expected) == 20
    for num_workers in (0, 1, 2):
        loader = make_loader(num_workers=num_workers)
        assert _rows_equal(rows_of(list(loader)), expected), num_workers
        loader.close()
    ranks = [list(make_loader(rank=rank, world_size=2)) for rank in range(2)]
    assert {len(batch.index) for batch in ranks[0]} == {2}
    assert _rows_equal(rows_of(ranks[0] + ranks[1]), expected)
    assert _rows_equal(rows_of(list(make_loader(global_batch_size=10))), expected)


def test_ranks_share_each_global_batch(make_loader: MakeLoader) -> None:
    whole = list(make_loader())
    shares = zip(*(make_loader(rank=rank, world_size=2) for rank in range(2)), strict=True)
    for batch, pair in zip(whole, shares, strict=True):
        assert torch.cat([share.index for share in pair]).equal(batch.index)
        assert torch.cat([share.label for share in pair]).equal(batch.label)


def test_epochs_seeds_and_views_differ(make_loader: MakeLoader, rows_of: RowsOf) -> None:
    loader = make_loader(global_batch_size=23)
    epochs = [rows_of(list(loader)) for _ in range(3)]
    epochs.append(rows_of(list(make_loader(global_batch_size=23, seed=1))))
    for one, other in pairwise(epochs):
        assert list(one) != list(other)
        assert not any(torch.equal(one[index][0], other[index][0]) for index in one)
    assert not any(torch.equal(*views) for views in epochs[0].values())


def _oracle(source: Source, index: int, *, epoch: int, view: int, seed: int) -> torch.Tensor:
    """(3, SIZE, SIZE), normalised."""
    spec = build_train_specs(AugmentConfig(size=SIZE))[view]
    picture = decode_rgb(source.read(index))
    height, width = picture.shape[:2]
    params = draw_views(
        pack_spec(spec), seed=seed, epoch=epoch, indices=np.array([index]), view=view,
        heights=np.array([height]), widths=np.array([width]),
    )  # fmt: skip
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (
        spec.normalize.mean, spec.normalize.std,
    ))  # fmt: skip
    return (reference.augment(picture, params[0], size=SIZE) - mean) / std


def test_views_are_those_of_the_sampler_and_the_oracle(
    make_loader: MakeLoader, source: Source, rows_of: RowsOf
) -> None:
    loader = make_loader(seed=5)
    loader.set_epoch(3)
    for index, views in rows_of(list(loader)).items():
        for number, view in enumerate(views):
            wanted = _oracle(source, index, epoch=3, view=number, seed=5)
            # In pixel values a normalised unit is about 0.225 * 255.
            assert (view - wanted).abs().mean() * 0.225 * 255 < 0.5, (index, number)


def test_the_oracle_can_be_asked_for(
    make_loader: MakeLoader, source: Source, rows_of: RowsOf
) -> None:
    loader = make_loader(ops="oracle", num_workers=0)
    for index, views in rows_of([next(iter(loader))]).items():
        for number, view in enumerate(views):
            wanted = _oracle(source, index, epoch=0, view=number, seed=0)
            torch.testing.assert_close(view, wanted.float(), rtol=0, atol=1e-5)


def test_shares_that_do_not_come_out_even_are_refused(make_loader: MakeLoader) -> None:
    with pytest.raises(UserError, match=r"train\.batch_size=5: must be a multiple of 2"):
        make_loader(global_batch_size=5, world_size=2)


def test_the_number_of_threads_stays(make_loader: MakeLoader) -> None:
    """torch's results depend on it, so making a loader must not change it."""
    before = torch.get_num_threads()
    for other in (before + 1, before):
        torch.set_num_threads(other)
        loader = make_loader()
        next(iter(loader))
        assert torch.get_num_threads() == other
        loader.close()
