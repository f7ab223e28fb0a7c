"""What a contestant of `bench loader` is, and what it is asked to do."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..pipeline.engines import Need
from ..pipeline.errors import UserError
from ..pipeline.sources import Format, recognise
from ..pipeline.stages import Stages
from .formats import converted


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every contestant is asked to do."""

    data: str
    """A folder of class folders of JPEGs, or a beton."""
    size: int
    batch_size: int
    num_workers: int
    stages: Stages | None = None
    """Where our own engines count their workers' time."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to make batches."""

    build: Callable[[Task], Iterator[int]]
    work: str
    needs: tuple[Need, ...] = ()
    """Without these it does not take part."""
    reads: Format | None = None
    """The one format that it reads, see `prepared`; None: whatever it is given."""

    def missing(self) -> list[Need]:
        """What it needs and is not installed."""
        return [need for need in self.needs if not need.is_met()]

    def check(self, name: str) -> None:
        """Refuse it where it cannot take part.

        Raises:
            UserError: something that it needs is not installed.
        """
        for need in self.missing():
            raise UserError(
                f"--engines={name}: needs {need.name}, which is not installed; {need.remedy}"
            )


@contextlib.contextmanager
def prepared(task: Task, reads: Format | None) -> Iterator[Task]:
    """The task with its data in this format: converted to a temporary folder where they are not.

    JPEG files pass through untouched, so that what is decoded is the same. The folder is removed
    on leaving; where it lies, TMPDIR says.
    """
    if reads is None or reads == recognise(task.data, field="--data"):
        yield task
        return
    with converted(task.data, [reads]) as paths:
        yield replace(task, data=paths[reads])
