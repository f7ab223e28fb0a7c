"""Philox-4x32-10 against the vectors that its authors publish with Random123 (kat_vectors)."""

import numpy as np
import pytest
from scipy import stats
from swiftsiam.pipeline import philox

_ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((_ONES,) * 4, (_ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_published_vectors(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    words = philox._rounds(*map(np.uint64, counter), *map(np.uint64, key))
    assert tuple(map(int, words)) == expected


def test_each_coordinate_has_its_own_counter_bits() -> None:
    """Counter (index low, index high, epoch, purpose | view | block), key (seed low, seed high)."""
    words = philox.philox_4x32(
        0x299F31D0_A4093822, 0x85A308D3_243F6A88, 0x13198A2E, 0x0, 0x037073, 0x44
    )
    assert words == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)
    zero = (0, 0, 0, 0, 0, 0)
    ones = [tuple(int(k == place) for k in range(6)) for place in range(6)]
    high = [(1 << 32, 0, 0, 0, 0, 0), (0, 1 << 32, 0, 0, 0, 0)]
    streams = {philox.philox_4x32(*coordinates) for coordinates in (zero, *ones, *high)}
    assert len(streams) == 9


def _uniforms(count: int, **coordinates: int) -> np.ndarray:
    out = np.empty(count)
    at = {"seed": 0, "index": 0, "epoch": 0, "view": 0} | coordinates
    philox.fill_uniform(at["seed"], at["index"], at["epoch"], at["view"], out)
    return out


def test_uniforms_are_uniform_and_open() -> None:
    drawn = np.concatenate([_uniforms(37, index=index) for index in range(3000)])
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-4


def test_a_longer_row_begins_as_the_shorter() -> None:
    assert np.array_equal(_uniforms(37, seed=5)[:10], _uniforms(10, seed=5))


def test_order_keys_do_not_depend_on_the_count() -> None:
    few, many = philox.order_keys(3, 1, 100), philox.order_keys(3, 1, 1000)
    assert np.array_equal(few, many[:100])
    assert len(np.unique(many)) == 1000
