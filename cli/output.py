"""Standard streams that cannot end a command: whoever reads them may go away, or read no UTF-8."""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_GONE = frozenset((errno.EPIPE, errno.EIO))


class _LastingFile(io.FileIO):
    """A descriptor whose reader may go away: what is written after that is dropped."""

    def write(self, data: "Buffer", /) -> int:
        """Write, or drop."""
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in _GONE:
                raise
            void = os.open(os.devnull, os.O_WRONLY)
            os.dup2(void, self.fileno())  # for native code as well
            os.close(void)
            return len(memoryview(data))


def _open_closed_descriptors() -> None:
    """Or the next file that is opened would be standard output to native code."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _lasting(descriptor: int, stream: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A text stream over the descriptor that replaces what it cannot encode."""
    file = _LastingFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=file.isatty() or descriptor == 2,
    )


def protect_streams() -> None:
    """Make stdout and stderr lasting. Called once, by the command line alone."""
    _open_closed_descriptors()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is not None:
            stream.flush()
        setattr(sys, name, _lasting(descriptor, stream))
