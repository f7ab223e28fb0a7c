"""`swiftsiam linear --fast`: features cached once, then a sweep over learning rates."""

import contextlib
import hashlib
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...pipeline.augment.spec import build_eval_spec
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ...pipeline.sources import Source, open_source
from ...pipeline.world import World
from ..config import Config
from ..device import build_autocast
from ..report import Report
from ..run import RunFolder
from ..terminal import format_seconds
from ..versions import describe_versions
from ..weights.trained import Trained
from .asked import Asked, build_features, choose_pictures, write_identity
from .features import CachedFeatures, FeatureCache, fill
from .labelled import match_classes, open_eval_loader
from .sweep import Swept, find_accuracy, sweep

_TELL_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """One set, and which of it are wanted."""

    name: str
    """TRAIN or VAL."""
    source: Source
    indices: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Fast:
    """One measurement: features cached in the folder `run.dir`, and a sweep over them."""

    trained: Trained
    asked: Asked
    config: Config
    """Resolved."""
    identity: dict[str, Any]
    """Of the weights and what is asked."""
    report: Report
    world: World

    def measure(self) -> dict[str, Any] | None:
        """The summary, by the first rank; None by others, all of which call this.

        Raises:
            UserError: the pictures are of no use.
        """
        config, world = self.config, self.world
        world.settle(device=config.train.device, timeout_s=config.train.timeout_s)
        torch.set_num_threads(config.train.num_threads or 1)
        train, val, to_class = world.everyone(self._open)
        run = world.first(self._open_folder)
        try:
            network = build_features(self.trained, self.asked.features).to(config.train.device)
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            of_train, of_val = (self._cache(network, part, run) for part in (train, val))
            return world.first(lambda: self._conclude(run, of_train, of_val, train, to_class))  # type: ignore[arg-type]
        finally:
            if run is not None:
                run.checkpoints.rmdir()  # every run folder has it, and there is nothing to keep
                run.close()

    def _open(self) -> tuple[Pictures, Pictures, torch.Tensor]:
        asked = self.asked
        train, val = open_source(asked.train, field="TRAIN"), open_source(asked.val, field="VAL")
        fields = (f"TRAIN={asked.train}", f"VAL={asked.val}")
        to_class = match_classes(train, val, fields=fields)
        chosen = choose_pictures(asked, self.config, train)
        return (
            Pictures(name="TRAIN", source=train, indices=chosen),
            Pictures(name="VAL", source=val, indices=np.arange(len(val))),
            to_class,
        )

    def _open_folder(self) -> RunFolder:
        path = Path(self.config.run.dir or "")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out={path}: cannot be made ({error.strerror})") from error
        run = RunFolder(path)
        run.again = "the same command again"
        run.write_config(self.config)
        write_identity(path, self.identity)
        return run

    def _cache(
        self, network: nn.Module, pictures: Pictures, run: RunFolder | None
    ) -> FeatureCache | None:
        """Features of one set, made as far as they are missing."""
        config, world = self.config, self.world
        begun, count = time.monotonic(), len(pictures.indices)
        depends = {
            "weights": self.identity["weights"],
            "features": self.asked.features,
            "pictures": pictures.source.digest,
            "chosen": hashlib.sha256(pictures.indices.tobytes()).hexdigest(),
            "spec": repr(build_eval_spec(config.augment)),
            "precision": config.train.precision,
        }
        cache = None
        if run is not None:
            folder = run.path / "features" / pictures.name.lower()
            folder.mkdir(parents=True, exist_ok=True)
            cache = FeatureCache(folder, depends, count=count)
        found = 0 if cache is None else cache.done
        progress = _Progress(self.report, f"features of {pictures.name}", count, found=found)
        with run.writing(f"features of {pictures.name}") if run else contextlib.nullcontext():
            bad = fill(
                cache,
                network,
                lambda done: open_eval_loader(
                    config, pictures.source, pictures.indices[done:], world
                ),
                autocast=build_autocast(config.train.precision, config.train.device),
                world=world,
                tick=progress.tick,
            )
        progress.end(seconds=time.monotonic() - begun, bad=bad)
        return cache

    def _conclude(
        self,
        run: RunFolder,
        of_train: FeatureCache,
        of_val: FeatureCache,
        pictures: Pictures,
        to_class: torch.Tensor,
    ) -> dict[str, Any]:
        """The sweep, and what its best gets right of VAL."""
        train, val = of_train.read(), of_val.read()
        asked = val.labels >= 0
        for name, count in (("TRAIN", len(train.labels)), ("VAL", asked.sum())):
            if not count:
                raise UserError(
                    f"{name}: none of its pictures has a label and can be read; check the path"
                )
        config, classes = self.config, pictures.source.classes
        begun = time.monotonic()
        swept = sweep(
            train,
            num_classes=len(classes),
            epochs=config.train.epochs,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            device=config.train.device,
        )
        seconds = time.monotonic() - begun
        val = CachedFeatures(val.features[asked], to_class.numpy()[val.labels[asked]])
        top1, top5 = find_accuracy(swept.head, val, device=config.train.device)
        self._keep(run, swept, classes)
        summary = {
            "accuracy": top1,
            "accuracy_top5": top5,
            "pictures": len(val.labels),
            "protocol": self.asked.name,
            "checkpoint": str(self.trained.path),
            "rate": swept.rate,
            "held_out": {f"{rate:g}": share for rate, share in swept.held_out.items()},
            "epochs": config.train.epochs,
            "batch_size": config.train.batch_size,
            "train_pictures": len(train.labels),
            "num_features": train.features.shape[1],
            "sweep_s": seconds,
            "device": config.train.device,
            "versions": describe_versions(),
        }
        run.write_summary(summary)
        self.report.note(_describe(swept, seconds))
        return summary

    def _keep(self, run: RunFolder, swept: Swept, classes: tuple[str, ...]) -> None:
        """The classifier as a plain file: logits are features @ weight.T + bias."""
        buffer = io.BytesIO()
        head = {"weight": swept.head.weight.cpu(), "bias": swept.head.bias.cpu()}
        torch.save(head | {"classes": list(classes)}, buffer)
        with run.writing("head.pt"):
            write_atomically(run.path / "head.pt", buffer.getvalue())


class _Progress:
    """Says now and then how far something is."""

    def __init__(self, report: Report, what: str, count: int, *, found: int) -> None:
        self._report, self._what, self._count = report, what, count
        self._told = time.monotonic()
        self._found = self._done = found

    def tick(self, done: int) -> None:
        """So many are done, of all."""
        self._done = done
        if time.monotonic() - self._told > _TELL_EVERY_S:
            self._told = time.monotonic()
            self._report.note(f"{self._what}: {done:,} of {self._count:,}")

    def end(self, *, seconds: float, bad: list[str]) -> None:
        """All are done."""
        made = self._done - self._found
        if not made:
            self._report.note(f"{self._what}: {self._count:,} found where they were cached")
            return
        rate = made / seconds
        self._report.note(
            f"{self._what}: {made:,} in {format_seconds(seconds)} ({rate:,.0f} images/s)"
        )
        if bad:
            self._report.note(f"{self._what}: {len(bad):,} cannot be read, the first is {bad[0]}")


def _describe(swept: Swept, seconds: float) -> str:
    shares = ", ".join(f"{rate:g}: {share:.2f}" for rate, share in swept.held_out.items())
    text = f"sweep: {format_seconds(seconds)}; % of what was held out of TRAIN by rate: {shares}"
    rates = list(swept.held_out)
    if swept.rate in (rates[0], rates[-1]):
        text += f"; the best, {swept.rate:g}, lies at the edge of what was tried"
    return text
