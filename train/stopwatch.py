"""Images per second, and the share of the time spent waiting for data."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Pace(NamedTuple):
    """Since the last log point."""

    images_per_s: float
    """End-to-end: source images, each of which gives two views."""
    data_wait_percent: float


class Stopwatch:
    """Measures the training loop; evaluation and saving between epochs do not count."""

    def __init__(
        self, *, batch_size: int, take_wait_s: Callable[[], float | None] = lambda: None
    ) -> None:
        """
        Args:
            batch_size: pictures of an item.
            take_wait_s: a GPU's own wait since the last call, see `Loader.take_wait_s`; None: the
                host's counts.
        """
        self._batch_size = batch_size
        self._take_wait_s = take_wait_s
        self._begun = time.perf_counter()
        self._batches = 0
        self._waited = 0.0

    def waiting_for(
        self, items: Iterable[T], *, within: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> Iterator[T]:
        """Pass the items on and count the time until each one comes.

        Args:
            items: to be passed on.
            within: the context of each wait.
        """
        iterator = iter(items)
        while True:
            asked = time.perf_counter()
            try:
                with within():
                    item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - asked
            self._batches += 1
            yield item

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here does not count."""
        paused = time.perf_counter()
        yield
        self._begun += time.perf_counter() - paused

    def take_pace(self) -> Pace:
        """Figures since the last call."""
        now = time.perf_counter()
        elapsed = max(now - self._begun, 1e-9)
        device_waited = self._take_wait_s()
        waited = self._waited if device_waited is None else min(device_waited, elapsed)
        pace = Pace(self._batches * self._batch_size / elapsed, 100 * waited / elapsed)
        self._begun, self._batches, self._waited = now, 0, 0.0
        return pace
