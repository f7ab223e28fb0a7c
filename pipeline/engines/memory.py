"""Memory for batches, used again once nobody can see it.

The system clears each page of fresh memory when it is first touched: at a batch of 256, 147 times
an image, which took 0.31 core-ms where the two views of a raw picture take 0.36. A batch is still
the caller's own: its memory comes back when the last tensor that shares it has gone.
"""

import math
import weakref

import numpy as np
import torch

_CACHE_LINE = 64  # bytes


class BatchMemory:
    """Hands out tensors for views. May be used by many threads."""

    def __init__(self, *, num_kept: int, is_pinned: bool) -> None:
        """
        Args:
            num_kept: unused pieces to keep, at most.
            is_pinned: for copies to a GPU; torch itself uses such memory again.
        """
        self._num_kept = num_kept
        self._is_pinned = is_pinned
        self._unused: list[np.ndarray] = []

    def empty(self, count: int, size: int, dtype: torch.dtype) -> torch.Tensor:
        """(count, 3, size, size) of `dtype`, channels-last, with whatever values."""
        shape = (count, size, size, 3)
        if self._is_pinned:
            return torch.empty(shape, dtype=dtype, pin_memory=True).permute(0, 3, 1, 2)
        num_bytes = math.prod(shape) * dtype.itemsize
        piece = self._find(num_bytes + _CACHE_LINE)
        start = -piece.ctypes.data % _CACHE_LINE
        lease = piece[start : start + num_bytes]
        # A tensor's storage holds `lease`, and nothing else does.
        weakref.finalize(lease, self._give_back, piece).atexit = False
        return torch.from_numpy(lease).view(dtype).view(shape).permute(0, 3, 1, 2)

    def close(self) -> None:
        """Free what is unused, and keep nothing from now on."""
        self._num_kept = 0
        self._unused.clear()

    def _find(self, num_bytes: int) -> np.ndarray:
        try:
            # The last one of an evaluation is shorter; larger pieces would do, but never mind it.
            place = [piece.size for piece in self._unused].index(num_bytes)
            return self._unused.pop(place)
        except (ValueError, IndexError):
            return np.empty(num_bytes, np.uint8)

    def _give_back(self, piece: np.ndarray) -> None:
        # May run in any thread, at any line, wherever the last tensor happens to go: no lock.
        if len(self._unused) < self._num_kept:
            self._unused.append(piece)
