"""Where a loader stands: epochs, `state` and `load` in mid-epoch, iterations broken off."""

from collections.abc import Callable

import pytest
import torch
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.loader import Loader

pytestmark = pytest.mark.slow

MakeLoader = Callable[..., Loader]
RowsOf = Callable[[list[Batch]], dict[int, tuple[torch.Tensor, ...]]]


def _assert_equal(batches: list[Batch], wanted: list[Batch]) -> None:
    assert len(batches) == len(wanted)
    for one, other in zip(batches, wanted, strict=True):
        assert torch.equal(one.index, other.index)
        assert all(map(torch.equal, one.views, other.views))


def _epoch(loader: Loader, epoch: int) -> list[Batch]:
    loader.set_epoch(epoch)
    return list(loader)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_epochs_follow_each_other(make_loader: MakeLoader, num_workers: int) -> None:
    loader = make_loader(num_workers=num_workers)
    following = [list(loader) for _ in range(3)]
    assert loader.state() == {"epoch": 3, "position": 0}
    loader = make_loader()
    for epoch in (2, 0, 1):
        _assert_equal(following[epoch], _epoch(loader, epoch))


def test_set_epoch_goes_anywhere_and_repeats(make_loader: MakeLoader) -> None:
    loader = make_loader()
    first = _epoch(loader, 4)
    assert not torch.equal(first[0].index, _epoch(loader, 5)[0].index)
    _assert_equal(_epoch(loader, 4), first)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_resuming_in_mid_epoch_is_exact(make_loader: MakeLoader, num_workers: int) -> None:
    whole = make_loader()
    expected = _epoch(whole, 1) + _epoch(whole, 2)
    interrupted = make_loader(num_workers=num_workers)
    interrupted.set_epoch(1)
    seen = [batch for _, batch in zip(range(2), interrupted, strict=False)]
    state = interrupted.state()
    assert state == {"epoch": 1, "position": 8}
    interrupted.close()
    resumed = make_loader(num_workers=num_workers)
    resumed.load(state)
    assert len(resumed) == 3
    resumed.set_epoch(1)  # as a trainer's loop does: it must not lose the place
    _assert_equal(seen + list(resumed) + list(resumed), expected)


def test_state_counts_what_was_yielded_not_what_was_made_ahead(make_loader: MakeLoader) -> None:
    loader = make_loader(global_batch_size=2, num_workers=1)
    for number, _ in enumerate(loader, start=1):
        assert loader.state()["position"] == 2 * number
        if number == 3:
            break
    assert len(loader) == 8


@pytest.mark.parametrize(("batch_size", "world_size"), [(2, 1), (6, 1), (6, 2), (10, 2)])
def test_resuming_with_other_shares_continues_the_order(
    make_loader: MakeLoader, rows_of: RowsOf, batch_size: int, world_size: int
) -> None:
    expected = _epoch(make_loader(global_batch_size=1), 1)
    rest = []
    for rank in range(world_size):
        loader = make_loader(global_batch_size=batch_size, rank=rank, world_size=world_size)
        loader.load({"epoch": 1, "position": 8})
        assert len(loader) == 15 // batch_size
        rest.append(list(loader))
    order = [torch.cat([batch.index for batch in pair]) for pair in zip(*rest, strict=True)]
    wanted = [int(batch.index) for batch in expected[8:]]
    assert torch.cat(order).tolist() == wanted[: 15 // batch_size * batch_size]
    views = rows_of(expected)
    for index, pair in rows_of([batch for share in rest for batch in share]).items():
        assert all(map(torch.equal, pair, views[index]))


def test_a_place_at_the_end_of_an_epoch(make_loader: MakeLoader) -> None:
    loader = make_loader()
    loader.load({"epoch": 0, "position": 20})
    assert len(loader) == 0
    assert list(loader) == []
    _assert_equal(list(loader), _epoch(make_loader(), 1))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_after_an_early_break_the_rest_comes(make_loader: MakeLoader, num_workers: int) -> None:
    expected = list(make_loader())
    loader = make_loader(num_workers=num_workers)
    seen = []
    for batch in loader:
        seen.append(batch)
        if len(seen) == 2:
            break
    assert len(loader) == 3
    _assert_equal(seen + list(loader), expected)
    loader.set_epoch(0)
    _assert_equal(list(loader), expected)


def test_an_iteration_left_lying_does_not_disturb_the_next(make_loader: MakeLoader) -> None:
    expected = list(make_loader())
    loader = make_loader()
    abandoned = iter(loader)
    seen = [next(abandoned)]
    rest = iter(loader)
    seen.append(next(rest))
    with pytest.raises(RuntimeError, match="iterated anew"):
        next(abandoned)
    del abandoned
    _assert_equal(seen + list(rest), expected)


def test_closing_in_mid_iteration_ends_it(make_loader: MakeLoader) -> None:
    loader = make_loader(num_workers=1)
    batches = iter(loader)
    next(batches)
    loader.close()
    with pytest.raises(RuntimeError, match="closed"):
        next(batches)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_past_the_last_epoch(make_loader: MakeLoader, num_workers: int) -> None:
    """`num_epochs` ends the running ahead, not the use."""
    loader = make_loader(num_workers=num_workers, num_epochs=2)
    epochs = [list(loader) for _ in range(3)]
    _assert_equal(epochs[2], _epoch(make_loader(), 2))
    _assert_equal(_epoch(loader, 0), epochs[0])
