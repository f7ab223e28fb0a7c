"""What a run says of itself: a record at each log point, and once, what there is to know of it."""

from collections.abc import Iterator

from .collapse import CollapseGuard
from .job import Job
from .report import Report
from .stopwatch import Stopwatch
from .terminal import format_seconds
from .usage import Usage, advise

_SETTLED = 20  # steps: the start of workers and compilers lies before the log point before


class Journal:
    """Keeps the time of training, and logs."""

    def __init__(self, job: Job, report: Report) -> None:
        """
        Args:
            job: in training; all ranks log at the same steps.
            report: told.
        """
        self.stopwatch = Stopwatch(
            batch_size=job.config.train.batch_size, take_wait_s=job.loader.take_wait_s
        )
        self._job = job
        self._report = report
        self._guard = CollapseGuard(
            job.model,
            on_collapse=job.config.train.on_collapse,
            num_rows=job.loader.options.batch_size,
        )
        self._usage = Usage.of(job)
        self._begun_at = self._logged_at = job.step
        self._is_told = False

    def log(self, *, epoch: int, lr: float, epoch_ends: bool) -> None:
        """One record of training.

        Raises:
            DivergedError, CollapsedError: of the steps since the last one.
        """
        job = self._job
        figures = job.train_step.take_figures(inspected=epoch_ends)
        pace = self.stopwatch.take_pace()
        # Whoever waits longest for data keeps the others waiting for it.
        waited = -job.world.least(-pace.data_wait_percent)
        record = {
            "epoch": epoch,
            "epoch_progress": round(job.scheduled_step / job.rate.steps_per_epoch, 4),
            **figures,
            "lr": lr,
            **pace._replace(data_wait_percent=waited)._asdict(),
            **self._usage.take(pace.images_per_s),
        }
        self._report.log("train", job.step, **record)
        notes: list[str | None] = [*job.train_step.take_notes()]
        is_first = self._logged_at == self._begun_at
        if job.step - self._begun_at >= _SETTLED and not is_first and not self._is_told:
            self._is_told = True
            notes += self._describe(record)
        self._logged_at = job.step
        for note in (*notes, self._guard.look(figures)):
            if note is not None:
                self._report.note(note)

    def _describe(self, record: dict[str, float]) -> Iterator[str | None]:
        """The pace, what it means, and what would change it."""
        job = self._job
        seconds = (job.total_steps - job.step) * job.config.train.batch_size
        text = (
            f"pace: {record['images_per_s']:,.0f} images/s, {record['memory_gb']:.1f} GB at most; "
            f"{format_seconds(seconds / record['images_per_s'])} left, without evaluation"
        )
        if "mfu_percent" in record:
            text += f"; {record['mfu_percent']:.0f} % of the GPU's arithmetic"
        yield text
        yield advise(job, record)
