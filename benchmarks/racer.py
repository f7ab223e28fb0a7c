"""Contestants as processes of their own, which are asked for rounds in turn.

All of them see the same neighbours, and none can disturb another by what it has imported, by its
threads, or by dying. A contestant is a command that answers on its standard output, a line of JSON
behind `MARK` each: once when it is ready, then for each line that it is given. What else it prints
is passed on to stderr.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from .neighbours import kill_tree, settle

_ORPHANS_S = 5.0
MARK = "@answer "
Answer = dict[str, Any]


class RacerError(Exception):
    """A contestant has died, or does not answer. The text says which."""


class Racer:
    """One of them."""

    def __init__(self, name: str, command: Sequence[str], *, limit_s: float) -> None:
        """Start it, and wait until it is ready.

        Args:
            name: for messages.
            command: the program and its arguments.
            limit_s: longest wait for an answer.

        Raises:
            RacerError: it never becomes ready.
        """
        self.name = name
        self._limit_s = limit_s
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tree = psutil.Process(self._process.pid)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.ready = self._answer()
        except BaseException:
            self.stop()
            raise
        self.start_s = time.perf_counter() - begun
        """From its start to its first batch."""

    def ask(self, line: str, *, is_watched: bool = True) -> Answer:
        """One round; its answer.

        Args:
            line: what it is told.
            is_watched: from full queues to full queues, and with `core_s` of the whole tree and
                `memory_mb`, which processes that share some count once.

        Raises:
            RacerError: it has died, or has not answered in time.
        """
        try:
            before = settle(self._tree) if is_watched else 0.0
            assert self._process.stdin is not None
            print(line, file=self._process.stdin, flush=True)
            answer = self._answer()
            if not is_watched:
                return answer
            taken_s = settle(self._tree) - before
            return answer | {"core_s": taken_s, "memory_mb": self._memory() / 1e6}
        except (psutil.NoSuchProcess, BrokenPipeError):
            raise self._ended() from None

    def stop(self) -> None:
        """End it and its workers."""
        kill_tree(self._tree)
        self._process.wait()
        self._listener.join(_ORPHANS_S)
        if self._listener.is_alive():  # a worker that has outlived a contestant holds the pipe
            return
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # of a line that was never read
                pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._lines.put(line.removeprefix(MARK))
            else:
                print(f"{self.name}: {line}", end="", file=sys.stderr, flush=True)
        self._lines.put(None)

    def _answer(self) -> Answer:
        try:
            line = self._lines.get(timeout=self._limit_s)
        except queue.Empty:
            raise RacerError(f"{self.name}: has not answered for {self._limit_s:g} s") from None
        if line is None:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> RacerError:
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        return RacerError(f"{self.name}: {how}; see above")

    def _memory(self) -> float:
        tree = (self._tree, *self._tree.children(recursive=True))
        total = 0.0
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):  # a helper that has just ended
                total += process.memory_full_info().pss
        return total


SWIFTSIAM = (sys.executable, "-m", "swiftsiam")
"""How our own commands begin."""


def answer(**told: Any) -> None:
    """The contestant's side: one answer."""
    print(MARK + json.dumps(told), flush=True)


def race(
    starts: dict[str, Callable[[], Racer]],
    *,
    rounds: int,
    warm_up: str,
    line: str,
    last: str | None = None,
    is_watched: bool = True,
) -> tuple[dict[str, Racer], dict[str, list[Answer]], dict[str, str]]:
    """Start all, let each warm up, and ask them for rounds in turn; all are ended.

    Args:
        starts: by name, how each is started.
        rounds: of each.
        warm_up: what each is asked first.
        line: what each is asked in a round.
        last: what each is asked when all rounds are over; the answer follows those of the rounds.
            None: nothing.
        is_watched: see `Racer.ask`.

    Returns:
        The racers; the answers of those that came through; why the others did not.
    """
    racers: dict[str, Racer] = {}
    failures: dict[str, str] = {}
    answers: dict[str, list[Answer]] = {}
    try:
        for name, start in starts.items():
            with _recorded(failures, name):
                racers[name] = start()
                racers[name].ask(warm_up, is_watched=is_watched)
        for number in range(rounds):
            for name in [name for name in racers if name not in failures]:
                with _recorded(failures, name):
                    answers.setdefault(name, []).append(
                        racers[name].ask(line, is_watched=is_watched)
                    )
            print(f"round {number + 1}/{rounds}", file=sys.stderr, flush=True)
        for name in [name for name in answers if last and name not in failures]:
            with _recorded(failures, name):
                answers[name].append(racers[name].ask(last or ""))
    finally:
        for racer in racers.values():
            racer.stop()
    through = {name: found for name, found in answers.items() if name not in failures}
    return racers, through, failures


@contextlib.contextmanager
def _recorded(failures: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except RacerError as error:
        failures[name] = str(error)
        print(f"left out: {error}", file=sys.stderr, flush=True)
