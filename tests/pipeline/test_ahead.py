"""Requests drawn ahead: in order, a bounded number, and never in the way of the batches."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from swiftsiam.pipeline import order
from swiftsiam.pipeline.ahead import RequestsAhead
from swiftsiam.pipeline.contract import Request
from swiftsiam.pipeline.loader import Loader

MakeLoader = Callable[..., Loader]

WAIT_S = 60.0


def numbered(number: int) -> Request:
    return Request(number, np.array([number]))


def drawing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "swiftsiam-requests"]


def test_requests_come_in_order_to_their_end() -> None:
    ahead = RequestsAhead(map(numbered, range(20)), count=3)
    assert [request.epoch for request in ahead] == list(range(20))
    assert next(ahead, None) is None
    ahead.stop(WAIT_S)


def test_what_is_raised_comes_behind_what_was_drawn() -> None:
    def requests() -> Iterator[Request]:
        yield numbered(0)
        raise ZeroDivisionError("a bug in the order")

    ahead = RequestsAhead(requests(), count=3)
    assert next(ahead).epoch == 0
    with pytest.raises(ZeroDivisionError, match="a bug in the order"):
        next(ahead)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_slow_order_is_not_waited_for_while_requests_lie_ready(
    make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    """The first request of an epoch sorts its order: the batches before it go on meanwhile."""
    settings = {"global_batch_size": 1}  # many to an epoch: engines read a few ahead of the first
    whole = make_loader(**settings)
    expected = [batch.index for _ in range(2) for batch in whole]
    sorting, is_sorted = threading.Event(), threading.Event()
    sort = order.BatchPlan.epoch_order

    def sort_slowly(plan: order.BatchPlan, epoch: int) -> np.ndarray:
        if epoch == 1:
            sorting.set()
            assert is_sorted.wait(WAIT_S)
        return sort(plan, epoch)

    monkeypatch.setattr(order.BatchPlan, "epoch_order", sort_slowly)
    loader = make_loader(**settings, num_workers=num_workers, num_epochs=2)
    batches = (batch.index for _ in range(2) for batch in loader)
    made = [next(batches)]
    assert sorting.wait(WAIT_S)  # an epoch before its batches are needed
    made.append(next(batches))
    is_sorted.set()
    assert all(map(torch.equal, (*made, *batches), expected))
    loader.close()
    assert not drawing_threads()


def test_a_loader_that_is_closed_while_its_order_is_sorted_leaves_no_thread(
    make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorting, is_sorted = threading.Event(), threading.Event()

    def sort(plan: order.BatchPlan, epoch: int) -> np.ndarray:
        sorting.set()
        assert is_sorted.wait(WAIT_S)
        return plan.indices

    monkeypatch.setattr(order.BatchPlan, "epoch_order", sort)
    ahead = RequestsAhead(make_loader()._requests(0, 0), count=3)
    assert sorting.wait(WAIT_S)
    stopping = threading.Thread(target=ahead.stop, args=(WAIT_S,))
    stopping.start()
    is_sorted.set()
    stopping.join(WAIT_S)
    assert next(ahead, None) is None
    assert not drawing_threads()


def test_requests_are_drawn_no_further_ahead_than_asked_and_the_thread_ends() -> None:
    drawn: list[int] = []

    def requests() -> Iterator[Request]:
        for number in range(1000):
            drawn.append(number)
            yield numbered(number)

    ahead = RequestsAhead(requests(), count=4)
    for _ in range(10):
        next(ahead)
    (thread,) = drawing_threads()
    ahead.stop(WAIT_S)
    assert not thread.is_alive()
    assert len(drawn) <= 10 + 4 + 1
    assert next(ahead, None) is None
