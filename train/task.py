"""What a job is for: its pictures, its views, its network, and how it is judged. The trainer knows
nothing else of it.
"""

import shlex
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..model.method import Method, build_method
from ..pipeline.augment.spec import AugmentSpec, build_train_specs
from ..pipeline.order import choose_indices
from ..pipeline.sources import Source, open_source
from ..pipeline.sources.torchvision_spec import are_same
from ..pipeline.world import World
from .config import Config
from .evaluation.encoder import RawPixels
from .evaluation.labelled import LabelledData, open_labelled
from .evaluation.monitor import evaluate_knn
from .parallel import lead_buffers
from .terminal import format_seconds
from .usage import count_of

if TYPE_CHECKING:
    from .job import Job
    from .report import Report


class Task:
    """Pre-training by a method of `model.METHODS`, monitored by kNN. Others derive from it."""

    def choose(self, config: Config, source: Source) -> np.ndarray:
        """(N,) int64: the pictures to train on."""
        return choose_indices(len(source), limit=config.data.limit, seed=config.train.seed)

    def settle(self, config: Config, source: Source) -> Config:
        """The configuration, with what depends on the pictures."""
        del source
        return config

    def specs(self, config: Config) -> tuple[AugmentSpec, ...]:
        """Of each view of a picture."""
        return build_train_specs(config.augment)

    def build(self, config: Config, source: Source) -> Method:
        """The network to be trained, on the CPU; its random weights follow torch's seed."""
        del source
        return build_method(config.model)

    def count_flops(self, config: Config) -> int | None:
        """Of training on one picture; None: not counted."""
        return count_of(config.model, tuple(spec.size for spec in self.specs(config)))

    def check(self, config: Config, source: Source, world: World) -> None:
        """Try the validation data: a mistake in it must not wait for its turn. All ranks call it.

        Raises:
            UserError: it cannot be used.
        """
        if config.data.val_path is not None:
            world.everyone(
                lambda: open_val_data(config, source, max_queries=None, world=world).check()
            )

    def begin(self, job: "Job", report: "Report") -> None:
        """Before the first step: kNN of raw pixels and of the network at random initialisation."""
        if not (job.config.eval.floors and job.config.data.val_path):
            return
        begun = time.monotonic()
        pixels = RawPixels().to(job.config.train.device)
        raw = _measure_knn(job, pixels, max_queries=None)
        random = _measure_knn(job, job.model.backbone, max_queries=None)
        report.log("floor", 0, network="raw pixels", knn=raw)
        report.log("knn", 0, epoch_progress=0, knn=random)
        report.note(
            f"kNN before training ({format_seconds(time.monotonic() - begun)}): raw pixels "
            f"{raw:.2f} %, random initialisation {random:.2f} %"
        )

    def evaluate(self, job: "Job", report: "Report", *, epoch: int) -> float | None:
        """Behind an epoch, where that is due: kNN, of all validation pictures at the end.

        Returns:
            What the best checkpoint is chosen by: more is better; None: nothing was measured.
        """
        config = job.config
        if config.data.val_path is None or not is_due(config, epoch=epoch):
            return None
        is_last = epoch + 1 == config.train.epochs
        if is_last:
            job.loader.close()  # its workers are done; the cores are the evaluation's
        queries = None if is_last else config.eval.max_queries
        knn = _measure_knn(job, job.model.backbone, max_queries=queries)
        report.log("knn", job.step, epoch_progress=epoch + 1, knn=knn)
        report.note(f"epoch {epoch + 1}/{config.train.epochs}  kNN {knn:.2f} %")
        return knn

    def summarise(self, metrics: list[dict[str, Any]]) -> dict[str, Any]:
        """Of the records of a run that has ended, for summary.json."""
        knn = [r for r in metrics if r["type"] == "knn"]
        floors = {r["network"]: r["knn"] for r in metrics if r["type"] == "floor"}
        return {
            "knn": knn[-1]["knn"] if knn else None,
            "knn_random_initialisation": knn[0]["knn"] if knn and knn[0]["step"] == 0 else None,
            "knn_raw_pixels": floors.get("raw pixels"),
        }

    def command(self, config: Config) -> str:
        """What continues it, behind `swiftsiam`."""
        return f"pretrain --resume {shlex.quote(config.run.dir or '')}"


def is_due(config: Config, *, epoch: int) -> bool:
    """Whether an evaluation follows this epoch, counted from 0."""
    done = epoch + 1
    return done == config.train.epochs or bool(config.eval.every and done % config.eval.every == 0)


def _measure_knn(job: "Job", network: torch.nn.Module, *, max_queries: int | None) -> float:
    if not (job.world.is_alone or job.config.train.sync_batch_norm):
        lead_buffers(network, job.world)
    data = open_val_data(job.config, job.source, max_queries=max_queries, world=job.world)
    try:
        return evaluate_knn(network, data, job.config, job.world)
    finally:
        data.close()


def open_val_data(
    config: Config, source: Source, *, max_queries: int | None, world: World
) -> LabelledData:
    """The run's own validation data, this rank's share; all where `max_queries` is None."""
    path, val_path = config.data.path, config.data.val_path
    assert path is not None
    assert val_path is not None
    return open_labelled(
        config,
        source,
        open_source(val_path, field="data.val_path"),
        fields=(f"data.path={path}", f"data.val_path={val_path}"),
        max_queries=max_queries,
        splits=are_same(path, val_path),
        world=world,
    )
