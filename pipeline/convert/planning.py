"""Cutting a row of samples into shards, and shards into parts."""

import numpy as np

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


def plan_shards(
    before: np.ndarray,
    extents: np.ndarray,
    behind: np.ndarray,
    *,
    shard_size: int,
    name: str,
    suffix: str,
    trailer: int,
) -> Layout:
    """Samples one after the other, as many to a shard as fit.

    Args:
        before, extents, behind: (N,) int64: bytes of each sample's frame and picture.
        shard_size: bytes; a larger sample has a shard of its own.
        name: what the shards' names begin with.
        suffix: what they end with.
        trailer: zero bytes at each shard's end.
    """
    ends = np.cumsum(before + extents + behind)
    starts = ends - (before + extents + behind)
    shard = np.empty(len(ends), np.int64)
    start = np.empty(len(ends), np.int64)
    names, sizes, parts = [], [], []
    first = 0
    for number, last in enumerate(cut(ends, shard_size - trailer)):
        origin = int(starts[first])
        shard[first:last] = number
        start[first:last] = starts[first:last] - origin
        size = int(ends[last - 1]) - origin + trailer
        within = ends[first:last] - origin
        begin, part_first = 0, first
        for part_last in cut(within, PART_SIZE):
            end = size if first + part_last == last else int(within[part_last - 1])
            parts.append(Part(number, begin, end, part_first, first + part_last))
            begin, part_first = end, first + part_last
        names.append(f"{name}-{number:06d}.{suffix}")
        sizes.append(size)
        first = last
    return Layout(tuple(names), tuple(sizes), shard, start, start + before, tuple(parts))
