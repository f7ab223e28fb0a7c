"""Linear evaluation and fine-tuning as a task of the trainer, which resumes, shares out and tells
it as it does pre-training.
"""

import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ...pipeline.augment.spec import AugmentSpec, build_linear_spec
from ...pipeline.errors import UserError
from ...pipeline.sources import Source, open_source
from ...pipeline.world import World
from ..config import Config, replace
from ..device import build_autocast
from ..task import Task, is_due
from ..weights.trained import Trained
from .accuracy import Accuracy, measure_accuracy
from .asked import Asked, build_features, choose_pictures
from .labelled import match_classes, open_eval_loader
from .probe import Probe

if TYPE_CHECKING:
    from ..job import Job
    from ..report import Report


class Linear(Task):
    """A classifier on trained weights; see the module."""

    def __init__(
        self, trained: Trained, asked: Asked, *, given: list[str], argv: list[str]
    ) -> None:
        """
        Args:
            trained: the weights.
            asked: of them.
            given: overrides, which nothing here changes.
            argv: the command's, with which it is begun again.
        """
        self._trained = trained
        self._asked = asked
        self._given = {text.partition("=")[0] for text in given}
        self._argv = argv
        self._val: Source | None = None
        self._to_class = torch.empty(0)

    def choose(self, config: Config, source: Source) -> np.ndarray:
        return choose_pictures(self._asked, config, source)

    def settle(self, config: Config, source: Source) -> Config:
        """A batch that the pictures fill, where they are fewer than the protocol's."""
        self._match(source)
        count, batch_size = len(self.choose(config, source)), config.train.batch_size
        if "train.batch_size" in self._given or count >= batch_size:
            return config
        while batch_size > max(count, 2):
            batch_size //= 2
        return replace(config, train={"batch_size": batch_size})

    def _match(self, source: Source) -> None:
        self._val = open_source(self._asked.val, field="VAL")
        fields = (f"TRAIN={self._asked.train}", f"VAL={self._asked.val}")
        self._to_class = match_classes(source, self._val, fields=fields)
        if not len(self._val):
            raise UserError(f"VAL={self._asked.val}: holds no pictures; check the path")

    def specs(self, config: Config) -> tuple[AugmentSpec, ...]:
        return (build_linear_spec(config.augment),)

    def build(self, config: Config, source: Source) -> Probe:
        del config
        network = build_features(self._trained, self._asked.features)
        return Probe(
            network,
            num_features=count_features(network),
            num_classes=len(source.classes),
            head_scale=self._asked.head_scale,
        )

    def count_flops(self, config: Config) -> int | None:
        del config

    def check(self, config: Config, source: Source, world: World) -> None:
        del source
        assert self._val is not None
        val = self._val
        world.everyone(lambda: open_eval_loader(config, val, None, world).check_readable(16))

    def begin(self, job: "Job", report: "Report") -> None:
        """Nothing is measured before the first step."""

    def evaluate(self, job: "Job", report: "Report", *, epoch: int) -> float | None:
        """Accuracy over all of VAL, which nothing is chosen by."""
        if not is_due(job.config, epoch=epoch):
            return
        if epoch + 1 == job.config.train.epochs:
            job.loader.close()
        found = self.measure(job)
        report.log(
            "accuracy",
            job.step,
            epoch_progress=epoch + 1,
            accuracy=found.top1,
            accuracy_top5=found.top5,
            pictures=found.pictures,
        )
        report.note(
            f"epoch {epoch + 1}/{job.config.train.epochs}  accuracy {found.top1:.2f} % "
            f"(top 5: {found.top5:.2f} %) of {found.pictures:,} pictures"
        )

    def measure(self, job: "Job") -> Accuracy:
        """Of the job's weights as they are."""
        assert isinstance(job.model, Probe)
        assert self._val is not None
        config = job.config
        with open_eval_loader(config, self._val, None, job.world) as loader:
            return measure_accuracy(
                job.model,
                loader,
                self._to_class,
                autocast=build_autocast(config.train.precision, config.train.device),
                world=job.world,
            )

    def summarise(self, metrics: list[dict[str, Any]]) -> dict[str, Any]:
        last = [r for r in metrics if r["type"] == "accuracy"][-1:]
        names = ("accuracy", "accuracy_top5", "pictures")
        found = {name: last[0][name] if last else None for name in names}
        return found | {"protocol": self._asked.name, "checkpoint": str(self._trained.path)}

    def command(self, config: Config) -> str:
        argv = self._argv
        if "--out" not in argv and not any(text.startswith("--out=") for text in argv):
            argv = [*argv, "--out", config.run.dir or ""]
        return f"linear {shlex.join(argv)}"


def count_features(network: nn.Module) -> int:
    """Width of what a backbone in eval mode makes of a picture."""
    with torch.inference_mode():
        return network(torch.zeros(1, 3, 32, 32)).shape[1]
