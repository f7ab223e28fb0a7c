"""`python dying.py EVENT SIGNAL ARGUMENTS…`: swiftsiam, which sends itself a signal at an event.

A test that kills from outside after some seconds depends on how fast the machine is. Of several
processes under torchrun the one of rank DYING_RANK does it. Events:

    step:N                after the N-th step of this process
    open:PART             a file whose name holds PART is about to be opened for writing
    half:PART             … and its first bytes have been written
    rename:PART           a file whose name holds PART is about to get its final name
    import:MODULE         the module is about to be imported
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any


def die_at(event: str, number: signal.Signals) -> None:
    """Arrange for it; of several occurrences of an event the first one counts."""
    kind, _, what = event.partition(":")
    if kind == "step":
        _signal_after_step(int(what), number)
        return
    occurrences: dict[str, str] = {
        "open": "open",
        "half": "open",
        "rename": "os.rename",
        "import": "import",
    }
    done = False

    def watch(occurred: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if done or occurred != occurrences[kind] or what not in str(arguments[0]):
            return
        if occurred == "open" and not _is_for_writing(arguments):
            return
        done = True
        if kind == "half":
            Path(arguments[0]).write_bytes(b"swift")
        os.kill(os.getpid(), number)

    sys.addaudithook(watch)


def _is_for_writing(arguments: tuple[Any, ...]) -> bool:
    mode = arguments[1] or ""
    return any(letter in mode for letter in "wa+x")


def _signal_after_step(count: int, number: signal.Signals) -> None:
    from swiftsiam.train.step import TrainStep

    plain = TrainStep.__call__
    done = 0

    def step(self: TrainStep, *views: Any, **named: Any) -> None:
        nonlocal done
        plain(self, *views, **named)
        done += 1
        if done == count:
            os.kill(os.getpid(), number)

    TrainStep.__call__ = step  # type: ignore[method-assign]


if __name__ == "__main__":
    event, name, *sys.argv[1:] = sys.argv[1:]
    # The first folder on the path would be this one.
    sys.path.pop(0)
    # As a terminal starts it: what a shell runs in the background ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for default in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(default, signal.SIG_DFL)
    is_first_start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if is_first_start and os.environ.get("RANK") == os.environ.get("DYING_RANK"):
        die_at(event, signal.Signals[name])
    from swiftsiam.__main__ import main

    sys.exit(main())
