"""summary.json: how a run ended, and with what it was made."""

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .metrics import figure_names, last_figures
from .versions import describe_versions

if TYPE_CHECKING:
    from .job import Job

_SHOWN = ("knn", "accuracy", "images_per_s", "data_wait_percent")


def build_summary(job: "Job", metrics: list[dict[str, Any]], *, bad: list[str]) -> dict[str, Any]:
    """The last figures, medians of the pace, bad samples of all ranks, and versions.

    Rates are medians over the log points; the first one, with the start-up in it, is left out.
    """
    steps = [r for r in metrics if r["type"] == "train"]
    paces = steps[1:] or steps
    return {
        **last_figures(steps),
        "figures": figure_names(steps),
        **job.task.summarise(metrics),
        "images_per_s": statistics.median(r["images_per_s"] for r in paces),
        "data_wait_percent": statistics.median(r["data_wait_percent"] for r in paces),
        "steps": job.step,
        "epochs": job.config.train.epochs,
        "bad_samples": bad,
        "engine": job.loader.engine_name,
        "device": job.config.train.device,
        "world_size": job.world.size,
        "precision": job.config.train.precision,
        "num_threads": job.config.train.num_threads,
        "versions": describe_versions(),
    }


def choose_shown(summary: Mapping[str, Any]) -> dict[str, float]:
    """What a person wants to see of it at the end."""
    names = (*summary["figures"], *_SHOWN)
    return {name: summary[name] for name in names if summary.get(name) is not None}
