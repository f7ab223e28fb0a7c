"""What a forecast is made from: each figure with where it comes from, measured or assumed."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from ...pipeline.engines import ENGINES
from ...pipeline.errors import UserError
from ..results import Record, read_records
from .collectives import Cluster, Link
from .exchange import Exchange
from .forecast import Measured, Statistics

_NORMAL = 1.349  # interquartile ranges of a normal distribution in a standard deviation
_MLPERF = "MLPerf Inference 4.1, system description of 8 H200 SXM"
_NCCL = "NCCL's own tuning table, rings, low-latency protocol (src/graph/tuning.cc); not measured"


class Figure(NamedTuple):
    """One input."""

    value: float
    source: str


class Option(NamedTuple):
    """A row of the table: of the command line."""

    what: str
    unit: str
    default: float
    lowest: float
    highest: float
    source: str


OPTIONS = {
    "step_rate": Option(
        "a GPU's step on a cached batch", "images/s", 4100, 1e-3, 1e9,
        "assumed: ResNet-50 at 224 px on an H200 by a count of bytes and products; not measured "
        "(best public training of an H100: 3,500)",
    ),
    "batch_size": Option(
        "pictures of a GPU in a step", "", 512, 1, 1e6, "the paper's batch, on one GPU"
    ),
    "floor_ms": Option(
        "the shortest step", "ms", 15, 0, 1e6,
        "assumed: some 2,000 kernels, launched at 7 µs each; not measured",
    ),
    "core_ms": Option(
        "the loader", "core-ms an image", 1.719, 1e-6, 1e6,
        "measured: ffcv engine, JPEGs of 110 kB, both views whole, n 5, "
        "benchmarks/results/amd-epyc-2-cores/loader.json",
    ),
    "picture_kb": Option(
        "a picture on disk", "kB", 110, 1e-3, 1e6, "measured: mean of 1,000 of ImageNet's JPEGs"
    ),
    "ranked_percent": Option(
        "what a shared BatchNorm's arithmetic adds to a step", "%", 0, 0, 1e4,
        "assumed: compiled into the kernels beside it; not measured on a GPU",
    ),
    "noise_percent": Option(
        "standard deviation of a process's step", "%", 1, 0, 100, "assumed; not measured on a GPU"
    ),
    "lasting_percent": Option(
        "of its variance, what stays for all of a step", "%", 100, 0, 100,
        "assumed, and the kindest; 0 is the other end",
    ),
    "hidden_percent": Option(
        "share of a step that hides sums of gradients", "%", 33.3, 0, 100,
        "assumed: backward is 2/3 of a step; gradients are whole in its second half, as on a CPU",
    ),
    "launching_cores": Option(
        "cores that load nothing", "a GPU", 1, 0, 1e4, "as data.num_workers leaves them"
    ),
    "gpus_per_host": Option("GPUs of a host", "", 8, 1, 1e4, _MLPERF),
    "cores_per_host": Option("cores of a host", "", 112, 1, 1e5, _MLPERF),
    "link_gb_s": Option(
        "a GPU's link within its host, one way", "GB/s", 450, 1e-6, 1e6,
        f"NVLink, 900 both ways ({_MLPERF}); peak, not measured",
    ),
    "link_us": Option("a step over it", "µs", 0.6, 0, 1e9, _NCCL),
    "network_gb_s": Option(
        "a host's network, one way", "GB/s", 400, 1e-6, 1e6,
        "eight cards of 400 Gb/s (MLPerf Inference 3.1, system description of 8 H100 SXM); peak, "
        "not measured",
    ),
    "network_us": Option("a step over it", "µs", 2.7, 0, 1e9, _NCCL),
    "start_us": Option("a collective's start", "µs", 6.6, 0, 1e9, _NCCL),
    "disk_gb_s": Option(
        "what a host reads", "GB/s", 10, 1e-6, 1e6, "assumed: two to four NVMe disks; not measured"
    ),
}  # fmt: skip
Figures = dict[str, Figure]


def collect(args: argparse.Namespace) -> Figures:
    """The command line's, else of its files, else the table's.

    Raises:
        UserError: a file has no record of the kind.
    """
    figures = {name: Figure(row.default, row.source) for name, row in OPTIONS.items()}
    if args.step is not None:
        figures |= _of_step(args.step)
    if args.loader is not None:
        figures |= _of_loader(args.loader)
    for name in OPTIONS:
        given = getattr(args, name)
        if given is not None:
            figures[name] = Figure(given, "given")
    return figures


def find_step(path: Path) -> Record:
    """The fastest of a file of `bench step`."""
    records = [r for r in read_records(path, field="--step") if r["scope"] == "step"]
    if not records:
        raise UserError(f"--step={path}: has no record of a step; give a file of bench step")
    return max(records, key=lambda record: record["images_per_s"]["median"])


def _of_step(path: Path) -> Figures:
    record = find_step(path)
    rate, machine = record["images_per_s"], record["machine"]
    lane = record.get("lane", record["work"])
    place = machine["gpu"] or machine["cpu"]
    source = f"measured: {lane}, {place}, n {rate['n']}, {path.name}"
    noise = min(100 * rate["iqr"] / _NORMAL / rate["median"], 100.0)
    return {
        "step_rate": Figure(rate["median"], source),
        "batch_size": Figure(record["batch_size"], source),
        "noise_percent": Figure(noise, f"{source}: of its rounds, each of several steps"),
    }


def _of_loader(path: Path) -> Figures:
    records = [
        record
        for record in read_records(path, field="--loader")
        if record["scope"] == "loader"
        and record["engine"] in ENGINES
        and record.get("name") not in ("formats", "scaling")  # other files, fewer workers
        and record.get("core_ms_per_image", {}).get("median")
    ]
    if not records:
        raise UserError(
            f"--loader={path}: has no record of an engine's core time; give a file of bench loader"
        )
    best = min(records, key=lambda record: record["core_ms_per_image"]["median"])
    cost = best["core_ms_per_image"]
    source = f"measured: {best['engine']} engine, {best['machine']['cpu']}, n {cost['n']}"
    return {"core_ms": Figure(cost["median"], f"{source}, {path.name}")}


def build_measured(
    figures: Figures, exchange: Exchange, *, statistics: Statistics = "all"
) -> Measured:
    """Of one GPU."""
    value = _values(figures)
    return Measured(
        images_per_s=value["step_rate"],
        batch_size=round(value["batch_size"]),
        floor_s=value["floor_ms"] / 1e3,
        core_ms_per_image=value["core_ms"],
        picture_bytes=1e3 * value["picture_kb"],
        exchange=exchange,
        statistics=statistics,
        ranked=value["ranked_percent"] / 100,
        hidden=value["hidden_percent"] / 100,
        noise=value["noise_percent"] / 100,
        lasting=value["lasting_percent"] / 100,
        cores_per_gpu=value["launching_cores"],
    )


def build_cluster(figures: Figures) -> Cluster:
    """That the GPUs stand in."""
    value = _values(figures)
    return Cluster(
        gpus_per_host=round(value["gpus_per_host"]),
        cores_per_host=round(value["cores_per_host"]),
        link=Link(bytes_per_s=1e9 * value["link_gb_s"], latency_s=value["link_us"] / 1e6),
        network=Link(bytes_per_s=1e9 * value["network_gb_s"], latency_s=value["network_us"] / 1e6),
        disk_bytes_per_s=1e9 * value["disk_gb_s"],
        start_s=value["start_us"] / 1e6,
    )


def _values(figures: Figures) -> dict[str, float]:
    return {name: figure.value for name, figure in figures.items()}


def tell(figures: Figures) -> list[dict[str, Any]]:
    """Each in plain types, for a record."""
    return [
        {"figure": name, "what": OPTIONS[name].what, "unit": OPTIONS[name].unit} | figure._asdict()
        for name, figure in figures.items()
    ]
