"""What people see while it runs: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .report import Figures, Sink

_UNITS = {
    "images_per_s": "{:,.0f} images/s",
    "data_wait_percent": "data-wait {:.0f} %",
    "memory_gb": "{:.1f} GB",
    "mfu_percent": "MFU {:.0f} %",
}
_UNSHOWN = frozenset(("epoch", "epoch_progress"))


class _TwoLines(Progress):
    """A bar that keeps its count and the time left on a narrow terminal; figures stand below."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and what there is to say."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures, no_wrap=True, overflow="ellipsis")


class Terminal(Sink):
    """Standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._start = self._steps = self._epochs = 0
        self._every_s = 0.0
        self._begun = self._last_line = time.monotonic()
        self._bar: _TwoLines | None = None

    def begin(self, *, step: int, steps: int, epochs: int, every_s: float) -> None:
        self._start, self._steps, self._epochs, self._every_s = step, steps, epochs, every_s
        self._begun = self._last_line = time.monotonic()
        if not self._console.is_terminal:
            return
        self._bar = _TwoLines(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
        )
        self._task = self._bar.add_task("training", total=steps, completed=step)
        self._bar.start()

    def tick(self, step: int) -> None:
        if self._bar:
            self._bar.update(self._task, completed=step)

    def log(self, kind: str, step: int, figures: Figures) -> None:
        if kind != "train":  # the others are noted in words
            return
        place = f"epoch {figures['epoch'] + 1}/{self._epochs}"
        if self._bar:
            self._bar.figures = format_figures(figures)
            self._bar.update(self._task, description=place)
            return
        now = time.monotonic()
        if now - self._last_line < self._every_s and step < self._steps:
            return
        self._last_line = now
        left = (now - self._begun) / max(step - self._start, 1) * (self._steps - step)
        self.note(
            f"{place}  step {step}/{self._steps}  {format_figures(figures)}  "
            f"left {format_seconds(left)}"
        )

    def note(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(text)
        else:
            print(text, flush=True)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()
        self._bar = None


def format_figures(figures: Mapping[str, Any]) -> str:
    """Each by its name, or in its unit; what the line says already is left out."""
    return "  ".join(
        _UNITS[name].format(value) if name in _UNITS else f"{name} {value:.4g}"
        for name, value in figures.items()
        if name not in _UNSHOWN
    )


def format_seconds(seconds: float) -> str:
    """75 → 1:15, 3,700 → 1:01:40."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def format_pairs(pairs: Mapping[str, str]) -> str:
    """Aligned `name  text` lines."""
    width = max(len(name) for name in pairs)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in pairs.items())
