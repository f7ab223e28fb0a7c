"""`swiftsiam bench train`: a training job, measured in parts and whole, and what limits it.

Method: four runs of the same job in one process, round by round in an order that is drawn: the
step on one cached batch (the model alone); the loader on files that were read before (decoding and
views); the loader on the files as they are, or cold, dropped from the page cache (reading); and
both together (end-to-end). The loader counts where its workers' time goes. On a GPU data-wait is
the device's, between events that nobody waits for. Medians and interquartile ranges over rounds.

Reading: end-to-end can be no faster than the lowest of three bounds: the step, the loader, and the
cores that both share (`verdict`). Below 90 % of it something is unexplained, and said to be.
"""

import argparse
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, output, whole
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..pipeline.world import World
from ..train.config import Config, read_config, replace
from ..train.job import Job, open_data
from .bounds import Figures
from .inputs import generate_pictures
from .jobs import add_job_options, build_endless, step_of
from .machine import default_output
from .neighbours import Neighbours
from .results import Record, write_records
from .rounds import LoaderRounds, Round, mean_stages, take_steps
from .smaller import Smaller, measure_smaller
from .spread import spread
from .verdict import Verdict, as_record, judge, print_verdict

_CACHED = 2048  # pictures that stay in the page cache
_WORK = {
    "step": "the training step on one cached batch, the loader at rest",
    "cached": "the loader on pictures that were read before; no step",
    "files": "the loader on the files as they are; no step",
    "cold": "the loader on files that the page cache was made to forget; no step",
    "end-to-end": "the training step fed by the loader",
}


class Measured(NamedTuple):
    """Of one job."""

    job: Job
    rounds: dict[str, list[Round]]
    """By the names of the work."""


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench train`."""
    parser = Parser(
        prog="swiftsiam bench train",
        description="Measure a training job in parts and whole, and say what limits it.",
        epilog="Example: swiftsiam bench train --config imagenet-r50-100ep data.path=/data/train",
    )
    add_job_options(parser)
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="of each part (5)")
    parser.add_argument("--seconds", type=whole(1, 600), default=3, help="a round takes (3)")
    parser.add_argument(
        "--cold", action="store_true", help="make the page cache forget the files before each round"
    )
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    return parser.parse_intermixed_args(argv)


def measure(config: Config, *, rounds: int, seconds: float, cold: bool) -> Measured:
    """The rounds of each part.

    Args:
        config: as `read_config` has it.
        rounds: of each.
        seconds: that one of them should take.
        cold: see `--cold`.
    """
    job = build_endless(config, counts_stages=True)
    step = step_of(job)
    files = _list_files(job) if cold else []
    with job.loader, _open_cached(job) as cached_loader:
        loader, cached = LoaderRounds(job.loader), LoaderRounds(cached_loader)
        contestants: dict[str, Callable[[int], Round]] = {
            "step": lambda count: take_steps(step, loader.first, count),
            "cached": cached.take,
            "cold" if cold else "files": loader.take,
            "end-to-end": lambda count: loader.feed(step, count),
        }
        counts = {name: _calibrate(run, seconds) for name, run in contestants.items()}
        order, found = random.Random(0), {name: [] for name in contestants}
        for number in range(rounds):
            for name in order.sample(list(contestants), len(contestants)):
                if name in ("cold", "end-to-end"):
                    _forget(files)
                found[name].append(contestants[name](counts[name]))
            print(f"round {number + 1}/{rounds}", flush=True)
        job.train_step.check()
    return Measured(job, found)


def _open_cached(job: Job):
    """A loader on few of the pictures, all of which are read once."""
    chosen = job.loader.indices
    count = max(min(_CACHED, len(chosen)), job.config.train.batch_size)
    places = np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(np.int64)
    indices = chosen[places]
    for index in indices.tolist():
        job.source.peek(index, 1)
        job.source.read(index)
    return open_data(job.config, job.source, World(), indices=indices)


def _calibrate(run: Callable[[int], Round], seconds: float) -> int:
    """Batches that take about as long; what warms up is done with it."""
    begun, count = time.perf_counter(), 2
    run(count)
    begun = time.perf_counter()
    run(count)
    each = (time.perf_counter() - begun) / count
    return max(round(seconds / max(each, 1e-4)), 2)


def _list_files(job: Job) -> list[Path]:
    """Those of a folder. A mapped file stays in memory as long as it is mapped."""
    root = Path(job.config.data.path or "")
    if job.source.format != "folder" or not root.is_dir():
        raise UserError(
            f"--cold: data.path={root} is kept as {job.source.format}, whose files are mapped and "
            "stay in memory; only a folder of pictures can be read cold"
        )
    return [path for path in root.rglob("*") if path.is_file()]


def _forget(files: list[Path]) -> None:
    """Make the page cache drop them."""
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def build_figures(measured: Measured, *, smaller: Smaller | None) -> Figures:
    """What the verdict goes by: medians, and of the stages means."""
    job, rounds = measured
    files = rounds.get("cold") or rounds["files"]
    config = job.config

    def median(some: list[Round], name: str) -> float:
        return spread([getattr(each, name) for each in some])["median"]

    return Figures(
        cores=num_cores(),
        num_workers=config.data.num_workers or 0,
        loader_rate=median(files, "images_per_s"),
        loader_core_ms=median(files, "core_ms"),
        stages=mean_stages(files),
        step_rate=median(rounds["step"], "images_per_s"),
        step_core_ms=median(rounds["step"], "core_ms"),
        end_to_end_rate=median(rounds["end-to-end"], "images_per_s"),
        end_to_end_core_ms=median(rounds["end-to-end"], "core_ms"),
        is_gpu=config.train.device == "cuda",
        makes_views_on_gpu=config.loader.device == "gpu",
        data=config.data.path or "DATA",
        smaller=smaller,
    )


def build_records(measured: Measured, verdict: Verdict) -> list[Record]:
    """One of each part, and the verdict."""
    job, rounds = measured
    config = job.config
    facts = {
        "engine": job.loader.engine_name,
        "name": config.model.backbone,
        "format": job.source.format,
        "batch_size": config.train.batch_size,
        "num_workers": config.data.num_workers,
        "size": config.augment.size,
        "precision": config.train.precision,
    }
    records = []
    for name, some in rounds.items():
        scope = name if name in ("step", "end-to-end") else "loader"
        record = facts | {
            "scope": scope,
            "lane": name,
            "work": _WORK[name],
            "images_per_s": spread([each.images_per_s for each in some]),
            "core_ms_per_image": spread([each.core_ms for each in some]),
        }
        if some[0].stages:
            record["stages_ms_per_image"] = mean_stages(some)
        if name == "end-to-end":
            ratio = [
                alone.images_per_s / fed.images_per_s
                for alone, fed in zip(rounds["step"], some, strict=True)
            ]
            record["step_with_loader_over_cached"] = spread(ratio)
            record["data_wait_percent"] = spread([each.wait_percent for each in some])
        records.append(record)
    return [*records, facts | as_record(verdict, data=config.data.path or "DATA")]


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    config = read_config(args.config, args.overrides)
    path = args.json or default_output("train.json")
    if config.data.path is None:
        config = replace(config, data={"path": str(generate_pictures().resolve())})
    neighbours = Neighbours()
    measured = measure(config, rounds=args.rounds, seconds=args.seconds, cold=args.cold)
    surroundings = neighbours.tell()
    smaller = measure_smaller(measured.job.source)
    verdict = judge(build_figures(measured, smaller=smaller))
    records = build_records(measured, verdict)
    data = Path(config.data.path or "").name
    write_records(path, records, data=data, surroundings=surroundings)
    _show(records, measured)
    print_verdict(verdict.lines, surroundings)
    print(f"written: {path}")
    return 0


def _show(records: list[Record], measured: Measured) -> None:
    config = measured.job.config
    title = (
        f"{config.model.backbone}, {config.augment.size} px, batch {config.train.batch_size}, "
        f"{config.train.precision} on {config.train.device}; {measured.job.loader.engine_name} "
        f"loader with {config.data.num_workers} workers, on {num_cores()} cores"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("measured", no_wrap=True)
    for head in ("images/s", "core-ms an image"):
        table.add_column(head, justify="right")
    for record in records:
        if "images_per_s" in record:
            rate, cost = record["images_per_s"], record["core_ms_per_image"]
            table.add_row(
                record["lane"],
                f"{rate['median']:,.0f} ± {rate['iqr'] / 2:,.0f}",
                f"{cost['median']:.3f} ± {cost['iqr'] / 2:.3f}",
            )
    console = Console(highlight=False)
    console.print(table)
    for record in records:
        if record.get("lane") in ("files", "cold"):
            told = [f"{name} {ms:.3f}" for name, ms in record["stages_ms_per_image"].items()]
            console.print(f"the loader's time, ms an image: {', '.join(told)}")
        if record.get("lane") == "end-to-end":
            ratio, waited = record["step_with_loader_over_cached"], record["data_wait_percent"]
            console.print(
                f"a step with the loader running over one on a cached batch: {ratio['median']:.3f}"
                f"; waiting for data: {waited['median']:.1f} %"
            )
