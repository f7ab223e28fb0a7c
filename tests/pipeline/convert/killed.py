"""`python killed.py N ARGUMENTS…`: `swiftsiam convert`, which kills itself at the N-th write.

Every system call that puts something on the disk is counted: writes, renames, truncations, and
each time one is reached before it is done.
"""

import os
import signal
import sys

from swiftsiam.pipeline.convert.command import main

_COUNTED = ("pwrite", "pwritev", "fsync", "replace", "rename", "ftruncate", "mkdir", "unlink")


def count_down(left: int) -> None:
    def counted(call):
        def counting(*args, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*args, **options)

        return counting

    for name in _COUNTED:
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    count_down(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
