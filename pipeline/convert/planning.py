"""Cutting a row of samples into shards, and shards into parts."""

import numpy as np

from ..sources.recordio_format import extent_of
from .contract import Layout, Part

PART_SIZE = 1 << 26
"""Bytes that one worker writes at a time and one checksum covers, more or less."""


def cut(ends: np.ndarray, limit: int) -> list[int]:
    """Cut a row of things into runs of at most `limit`; a thing that is larger gets its own.

    Args:
        ends: (N,) int64: where each thing ends, in units of the limit, ascending.
        limit: of a run.

    Returns:
        Where each run ends: the number of the first thing behind it; the last is N.
    """
    cuts, begin, first = [], 0, 0
    while first < len(ends):
        last = max(int(np.searchsorted(ends, begin + limit, side="right")), first + 1)
        cuts.append(last)
        begin, first = int(ends[last - 1]), last
    return cuts


class Shards:
    """What formats of many files have in common: samples one after the other, as many to a file
    as fit. See `contract.ShardFormat`; theirs alone: `name`, `largest`, `overhead`, `frame`,
    `indexes`.
    """

    suffix: str
    """Of a shard's name."""
    trailer = 0
    """Zero bytes at a shard's end."""
    takes_png = True
    needs_content = False

    def overhead(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `contract.ShardFormat`."""
        raise NotImplementedError

    def count_pieces(self, data: bytes) -> int:
        """One: the picture as it is."""
        return 1

    def fixed(self, what: str, samples: np.ndarray, layout: Layout) -> bytes:
        """There is no part without samples."""
        raise KeyError(what)

    def plan(self, samples: np.ndarray, *, name: str, shard_size: int) -> Layout:
        """See `contract.ShardFormat`."""
        before, behind = self.overhead(samples)
        whole = before + extent_of(samples["length"], samples["pieces"]) + behind
        ends = np.cumsum(whole)
        starts = ends - whole
        shard = np.empty(len(ends), np.int64)
        start = np.empty(len(ends), np.int64)
        names, sizes, parts = [], [], []
        first = 0
        for number, last in enumerate(cut(ends, shard_size - self.trailer)):
            origin = int(starts[first])
            shard[first:last] = number
            start[first:last] = starts[first:last] - origin
            size = int(ends[last - 1]) - origin + self.trailer
            within = ends[first:last] - origin
            begin, part_first = 0, first
            for part_last in cut(within, PART_SIZE):
                end = size if first + part_last == last else int(within[part_last - 1])
                parts.append(Part(number, begin, end, part_first, first + part_last))
                begin, part_first = end, first + part_last
            names.append(f"{name}-{number:06d}.{self.suffix}")
            sizes.append(size)
            first = last
        return Layout(tuple(names), tuple(sizes), shard, start, start + before, tuple(parts))
