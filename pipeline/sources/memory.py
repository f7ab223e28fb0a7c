"""Encoded pictures in memory, as a source: for trials and benchmarks, which have no files."""

from collections.abc import Sequence

import numpy as np

from . import Format, Peek, digest_of


class MemorySource:
    """Pictures that are given, all without a label unless they are given too."""

    format: Format = "folder"
    left_out: tuple[tuple[str, int], ...] = ()

    def __init__(self, files: Sequence[bytes], *, labels: np.ndarray | None = None) -> None:
        """
        Args:
            files: the encoded pictures.
            labels: (N,) integers from 0.
        """
        self._files = files
        self.labels = np.full(len(files), -1) if labels is None else labels.astype(np.int64)
        self.classes = tuple(map(str, range(int(self.labels.max(initial=-1)) + 1)))

    def __len__(self) -> int:
        return len(self._files)

    @property
    def digest(self) -> str:
        """Of all bytes and labels."""
        return digest_of(*self._files, self.labels.tobytes())

    def place(self, index: int) -> tuple[int, int, int]:
        """Its position."""
        return 0, 0, index

    def read(self, index: int) -> bytes:
        """As it was given."""
        return self._files[index]

    def peek(self, index: int, count: int) -> Peek:
        """See `Source`."""
        data = self._files[index]
        return Peek(len(data), data[:count], data[-2:])

    def key(self, index: int) -> str:
        """Its position, as text."""
        return f"picture {index}"
