"""A shard read from front to end, once, with the checksums of its blocks."""

import os
from pathlib import Path

import xxhash

BLOCK = 1 << 26
"""Bytes that one checksum of the manifest covers."""
_BUFFER = 1 << 20
_PASSED = 1 << 22


class Sequential:
    """Read and not mapped: a file that is cut meanwhile would kill the process that reads a
    mapping.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError: it cannot be read.
        """
        self.name = path.name
        self._file = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115 - closed by `close`
        self.descriptor = self._file.fileno()
        self.size = os.fstat(self.descriptor).st_size
        self.at = 0
        """The next byte."""
        self.blocks: list[str] = []
        """xxh3_64 of each block, in hex."""
        self._block = xxhash.xxh3_64()

    @property
    def left(self) -> int:
        """Bytes behind `at`."""
        return self.size - self.at

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            OSError: there are fewer, or they cannot be read.
        """
        data = self._file.read(count)
        if len(data) < count:
            raise OSError(0, "it was cut while it was read")
        view = memoryview(data)
        while view:
            piece = view[: BLOCK - self.at % BLOCK]
            self._block.update(piece)
            self.at += len(piece)
            view = view[len(piece) :]
            if self.at % BLOCK == 0:
                self._end_block()
        return data

    def pass_to(self, position: int) -> None:
        """Go on to a byte behind `at`. Raises as `take` does."""
        while self.at < position:
            self.take(min(position - self.at, _PASSED))

    def finish(self) -> None:
        """Go to the end. Raises as `take` does."""
        self.pass_to(self.size)
        if self.at % BLOCK:
            self._end_block()

    def _end_block(self) -> None:
        self.blocks.append(self._block.hexdigest())
        self._block.reset()

    def close(self) -> None:
        self._file.close()
