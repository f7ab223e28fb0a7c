"""The largest batch that should fit, by what smaller ones take."""

import pytest
import torch
from swiftsiam.train.memory import find_largest_batch

GB = 10**9


def linear(count: int) -> int:
    """1 GB of weights, and 88 MB a picture; a device of 40 GB."""
    taken = GB + count * 88_000_000
    if taken > 40 * GB:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return taken


def test_it_is_what_fits() -> None:
    found = find_largest_batch(linear, total_bytes=40 * GB, failed=512)
    assert found == 408  # 0.94 × 40 GB, down to a multiple of 8
    assert linear(found) < 40 * GB
    with pytest.raises(torch.OutOfMemoryError):
        linear(512)


def test_smaller_ones_are_tried_where_a_quarter_does_not_fit() -> None:
    found = find_largest_batch(linear, total_bytes=40 * GB, failed=8192)
    assert found == 408


def test_it_is_never_what_has_failed() -> None:
    found = find_largest_batch(lambda count: GB, total_bytes=40 * GB, failed=64)
    assert found == 56


def test_nothing_may_fit() -> None:
    def full(count: int) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert find_largest_batch(full, total_bytes=GB, failed=512) is None
    assert find_largest_batch(linear, total_bytes=40 * GB, failed=16) is None
