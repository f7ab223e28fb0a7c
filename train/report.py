"""What a run tells: figures and notes, to whoever wants them. Nothing else in training prints."""

from collections.abc import Mapping
from typing import Any

from .run import RunFolder

Figures = Mapping[str, Any]
"""Numbers by name, and a few words (the name of a network)."""


class Sink:
    """Somewhere to tell it. Each takes what it can show of it."""

    def begin(self, *, step: int, steps: int, epochs: int, every_s: float) -> None:
        """Training begins behind `step`.

        Args:
            step: the last that was done before.
            steps: of the whole run.
            epochs: of the whole run.
            every_s: seconds between two lines where there is no terminal.
        """

    def tick(self, step: int) -> None:
        """One step is done."""

    def log(self, kind: str, step: int, figures: Figures) -> None:
        """Figures of one kind (train, knn, floor, change) at a step."""

    def note(self, text: str) -> None:
        """A line for people, that stays."""

    def end(self) -> None:
        """Training has ended, one way or another."""

    def close(self) -> None:
        """Nothing more will come."""


class Report:
    """All sinks of one run as one. Without any (on the ranks that stay silent) nothing is told."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """One more from now on."""
        self._sinks.append(sink)

    def begin(self, *, step: int, steps: int, epochs: int, every_s: float) -> None:
        """See `Sink`, here and below."""
        for sink in self._sinks:
            sink.begin(step=step, steps=steps, epochs=epochs, every_s=every_s)

    def tick(self, step: int) -> None:
        for sink in self._sinks:
            sink.tick(step)

    def log(self, kind: str, step: int, **figures: Any) -> None:
        for sink in self._sinks:
            sink.log(kind, step, figures)

    def note(self, text: str) -> None:
        for sink in self._sinks:
            sink.note(text)

    def end(self) -> None:
        for sink in self._sinks:
            sink.end()

    def close(self) -> None:
        while self._sinks:
            self._sinks.pop().close()


class MetricsFile(Sink):
    """metrics.jsonl: one record a line, `type` and `step` first."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def log(self, kind: str, step: int, figures: Figures) -> None:
        self._run.log({"type": kind, "step": step, **figures})
