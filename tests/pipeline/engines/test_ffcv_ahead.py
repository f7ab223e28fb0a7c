"""Requests drawn ahead: in order, a bounded number, and never in the way of the batches."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from swiftsiam.pipeline.contract import Request

pytestmark = pytest.mark.engine("ffcv")

WAIT_S = 60.0


def numbered(number: int) -> Request:
    return Request(number, np.array([number]))


def drawing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "swiftsiam-requests"]


def test_requests_come_in_order_to_their_end() -> None:
    from swiftsiam.pipeline.engines.ffcv.ahead import RequestsAhead

    ahead = RequestsAhead(map(numbered, range(20)), count=3)
    assert [request.epoch for request in ahead] == list(range(20))
    assert next(ahead, None) is None
    ahead.stop(WAIT_S)


def test_what_is_raised_comes_behind_what_was_drawn() -> None:
    from swiftsiam.pipeline.engines.ffcv.ahead import RequestsAhead

    def requests() -> Iterator[Request]:
        yield numbered(0)
        raise ZeroDivisionError("a bug in the order")

    ahead = RequestsAhead(requests(), count=3)
    assert next(ahead).epoch == 0
    with pytest.raises(ZeroDivisionError, match="a bug in the order"):
        next(ahead)


def test_a_slow_order_is_not_waited_for_while_requests_lie_ready() -> None:
    """The first request of an epoch sorts its order: the batches before it go on meanwhile."""
    from swiftsiam.pipeline.engines.ffcv.threads import Crew

    sorting, sorted_ = threading.Event(), threading.Event()

    def requests() -> Iterator[Request]:
        yield from map(numbered, range(6))
        sorting.set()
        assert sorted_.wait(WAIT_S)
        yield numbered(6)

    crew = Crew(
        requests(),
        open_batch=lambda request: [request.epoch],
        build_maker=lambda: lambda batch, start, stop: None,
        num_threads=1,
        chunk=1,
        ahead=2,
        requests_ahead=8,
    )
    results = crew.results()
    assert sorting.wait(WAIT_S)
    assert [next(results) for _ in range(6)] == [[number] for number in range(6)]
    sorted_.set()
    assert list(results) == [[6]]
    crew.stop()


def test_requests_are_drawn_no_further_ahead_than_asked_and_the_thread_ends() -> None:
    from swiftsiam.pipeline.engines.ffcv.ahead import RequestsAhead

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
