"""The races of `bench loader`: contestants with their tasks, as processes, and their records."""

import argparse
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..pipeline.engines import ENGINES
from .contestants import CONTESTANTS, Task
from .racer import SWIFTSIAM, Answer, Racer, race
from .results import Record
from .rounds import complete
from .spread import spread


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant with its task."""

    engine: str
    task: Task
    form: str = "as-is"
    """Of its pictures, see `formats`."""

    @property
    def name(self) -> str:
        """Unique in a race."""
        told = [self.engine] if self.form == "as-is" else [self.engine, self.form]
        return ", ".join([*told, f"{self.task.num_workers} workers"])

    def start(self, *, limit_s: float) -> Racer:
        """Its process."""
        task = self.task
        told = {
            "--serve": self.engine,
            "--data": task.data,
            "--size": task.size,
            "--batch-size": task.batch_size,
            "--workers": task.num_workers,
        }
        command = [
            *SWIFTSIAM,
            "bench",
            "loader",
            *(f"{key}={value}" for key, value in told.items()),
        ]
        return Racer(self.name, command, limit_s=limit_s)


def measure(entries: list[Entry], args: argparse.Namespace) -> list[Record]:
    """Race them; one record each, also of those that failed."""
    starts = {entry.name: partial(entry.start, limit_s=args.limit_s) for entry in entries}
    racers, answers, failures = race(
        starts,
        rounds=args.rounds,
        warm_up=str(args.images // 4 + 1),
        line=str(args.images),
        last="0",
    )
    records = []
    for entry in entries:
        facts = _describe(entry)
        if entry.name in failures:
            records.append(facts | {"failure": failures[entry.name]})
        else:
            records.append(facts | _summarise(entry, racers[entry.name], answers[entry.name]))
    return records


def _describe(entry: Entry) -> Record:
    task = entry.task
    return {
        "scope": "loader",
        "engine": entry.engine,
        "format": entry.form,
        "batch_size": task.batch_size,
        "num_workers": task.num_workers,
        "size": task.size,
        "work": CONTESTANTS[entry.engine].work,
    }


def _summarise(entry: Entry, racer: Racer, asked: list[Answer]) -> dict[str, Any]:
    answers, last = asked[:-1], asked[-1]
    core_ms = [1000 * answer["core_s"] / answer["images"] for answer in answers]
    gaps_ms = np.concatenate([answer["gaps_ms"] for answer in answers])
    found = {
        "images_per_s": spread([answer["images_per_s"] for answer in answers]),
        "core_ms_per_image": spread(core_ms),
        "batch_ms": {
            "p50": round(float(np.percentile(gaps_ms, 50)), 3),
            "p99": round(float(np.percentile(gaps_ms, 99)), 3),
            "n": len(gaps_ms),
        },
        "memory_mb": spread([answer["memory_mb"] for answer in answers]),
        "peak_memory_mb": round(max(answer["memory_mb"] for answer in answers), 3),
        "first_batch_s": round(racer.ready["first_batch_s"], 2),
        "start_s": round(racer.start_s, 2),
    }
    if entry.engine in ENGINES:
        images = sum(answer["images"] for answer in answers)
        begun_s = answers[0]["stages_s"]
        counted = {k: 1000 * (s - begun_s[k]) / images for k, s in last["stages_s"].items()}
        middle = found["core_ms_per_image"]["median"]
        stages = complete(counted, core_ms=middle, engine=entry.engine)
        found["stages_ms_per_image"] = {name: round(ms, 4) for name, ms in stages.items()}
    return found
