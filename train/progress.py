"""What people see while it runs: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

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


@dataclass(frozen=True, kw_only=True)
class Status:
    """The latest figures."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    z_std: float
    lr: float
    images_per_s: float
    data_wait_percent: float

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.4f}  z_std {self.z_std:.2f}  lr {self.lr:.3g}  "
            f"{self.images_per_s:,.0f} images/s  data-wait {self.data_wait_percent:.0f} %"
        )


class _TwoLines(Progress):
    """A bar that keeps its count and the time left on a narrow terminal; figures stand below."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and what there is to say."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.figures, no_wrap=True, overflow="ellipsis")


class TrainingProgress:
    """A context: `tick` at every step, `update` at log points, `note` for a lasting line."""

    def __init__(self, *, start: int, steps: int, every_s: float) -> None:
        """
        Args:
            start: steps done before.
            steps: of the whole run.
            every_s: seconds between plain lines where there is no terminal.
        """
        self._console = Console(highlight=False)
        self._start, self._steps, self._every_s = start, steps, every_s
        self._begun = self._last_line = time.monotonic()
        self._bar: _TwoLines | None = None
        if self._console.is_terminal:
            self._bar = _TwoLines(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                console=self._console,
            )
            self._task = self._bar.add_task("training", total=steps, completed=start)

    def __enter__(self) -> "TrainingProgress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def tick(self, step: int) -> None:
        """One step is done."""
        if self._bar:
            self._bar.update(self._task, completed=step)

    def update(self, status: Status) -> None:
        """New figures at a log point."""
        if self._bar:
            description = f"epoch {status.epoch + 1}/{status.epochs}"
            self._bar.figures = str(status)
            self._bar.update(self._task, description=description)
            return
        now = time.monotonic()
        if now - self._last_line < self._every_s and status.step < status.steps:
            return
        self._last_line = now
        done = status.step - self._start
        left = (now - self._begun) / max(done, 1) * (status.steps - status.step)
        print(
            f"epoch {status.epoch + 1}/{status.epochs}  step {status.step}/{status.steps}  "
            f"{status}  left {format_seconds(left)}",
            flush=True,
        )

    def note(self, text: str) -> None:
        """A line that stays."""
        if self._bar:
            self._bar.console.print(text)
        else:
            print(text, flush=True)


def format_seconds(seconds: float) -> str:
    """75 → 1:15, 3,700 → 1:01:40."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def print_pairs(pairs: dict[str, str]) -> None:
    """Aligned `name  text` lines."""
    width = max(len(name) for name in pairs)
    for name, text in pairs.items():
        print(f"  {name:<{width}}  {text}")
    sys.stdout.flush()
