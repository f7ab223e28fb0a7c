"""`swiftsiam bench features`: what linear evaluation costs on this machine.

Method: the network's forward pass alone on one batch that was read before, and the same pass over
pictures as `swiftsiam linear --fast` caches them (read, decoded, resized, in float16 on the disk),
in turns, so that both meet the same machine. The ratio of the two rates of a round is what the
cache loses to the loader and the disk. The sweep is timed on noise of a given size, since its time
depends on nothing else. Features are thrown away.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ..model.backbones import build_backbone
from ..pipeline.arguments import Parser, data_path, output, whole
from ..pipeline.errors import UserError
from ..pipeline.sources import Source, open_source
from ..pipeline.world import World
from ..train.config import Config, parse_config
from ..train.device import build_autocast, resolve
from ..train.evaluation.features import CachedFeatures, FeatureCache, fill
from ..train.evaluation.labelled import open_eval_loader
from ..train.evaluation.sweep import RATES, sweep
from .machine import default_output
from .neighbours import Neighbours
from .results import Record, write_records
from .spread import spread

_SCOPES = {"forward": "step", "features": "end-to-end"}
_SIZES = ("count", "dims", "classes", "epochs")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench features`."""
    parser = Parser(
        prog="swiftsiam bench features",
        description="Measure the features of linear evaluation, and the sweep over them.",
    )
    parser.add_argument("--data", type=data_path, help="pictures (none: the sweep alone)")
    parser.add_argument("--backbone", default="resnet50", help="(resnet50)")
    parser.add_argument("--size", type=whole(8, 1024), default=224, help="of a view, px (224)")
    parser.add_argument("--images", type=whole(1, 2**31), default=256, help="of a round (256)")
    parser.add_argument("--batch-size", type=whole(1, 65_536), default=64, help="(64)")
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="of features (5)")
    parser.add_argument("--count", type=whole(10, 2**31), default=50_000, help="swept (50000)")
    parser.add_argument("--dims", type=whole(1, 65_536), default=2048, help="of a feature (2048)")
    parser.add_argument("--classes", type=whole(2, 65_536), default=10, help="of the sweep (10)")
    parser.add_argument("--epochs", type=whole(1, 10_000), default=30, help="of the sweep (30)")
    parser.add_argument("--sweeps", type=whole(0, 1000), default=3, help="rounds of it (3)")
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    path = args.json or default_output("features.json")
    neighbours = Neighbours()
    records = []
    if args.data is not None:
        source = open_source(args.data, field="--data")
        if len(source) < args.images:
            raise UserError(
                f"--images={args.images}: there are {len(source)} pictures; ask for fewer"
            )
        if args.images < 2 * args.batch_size:
            raise UserError(f"--images={args.images}: must be two batches or more")
        records += measure_features(args, source)
    if args.sweeps:
        records.append(measure_sweep(args))
    write_records(path, records, surroundings=neighbours.tell())
    for record in records:
        print(_describe(record))
    print(f"written: {path}")
    return 0


def measure_features(args: argparse.Namespace, source: Source) -> list[Record]:
    """The forward pass, and the cache beside it; args as of `parse_arguments`."""
    config = _configure(args)
    device = config.train.device
    torch.set_num_threads(config.train.num_threads or 1)
    network = build_backbone(config.model.backbone)[0].eval().to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    autocast = build_autocast(config.train.precision, device)
    rounds: dict[str, list[float]] = {"forward": [], "features": []}
    with open_eval_loader(config, source, np.arange(args.images), World()) as loader:
        batch = next(iter(loader))
        loader.close()
        for number in range(args.rounds + 1):
            once = {
                "forward": _time_forward(network, batch.views[0], autocast, args),
                "features": _time_features(network, config, source, args),
            }
            if number:  # the first starts threads and libraries
                for name, rate in once.items():
                    rounds[name].append(rate)
    shares = [100 * b / a for a, b in zip(*rounds.values(), strict=True)]
    common = {
        "engine": config.loader.engine,
        "backbone": config.model.backbone,
        "size": args.size,
        "precision": config.train.precision,
        "batch_size": args.batch_size,
        "num_workers": config.data.num_workers,
    }
    work = {
        "forward": "the network's forward pass on one batch that was read before",
        "features": f"{args.images} pictures as linear --fast caches their features",
    }
    records = [
        common
        | {"scope": _SCOPES[name], "lane": name, "work": work[name]}
        | {"images_per_s": spread(rates)}
        for name, rates in rounds.items()
    ]
    records[1]["percent_of_forward"] = spread(shares)
    return records


def _configure(args: argparse.Namespace) -> Config:
    values = {
        "data": {"path": str(args.data)},
        "augment": {"size": args.size},
        "model": {"backbone": args.backbone},
        "eval": {"batch_size": args.batch_size},
    }
    return resolve(parse_config(values, [])).config


def _time_forward(
    network: torch.nn.Module,
    view: torch.Tensor,
    autocast: torch.autocast,
    args: argparse.Namespace,
) -> float:
    """Images/s."""
    count = -(-args.images // args.batch_size)
    features, begun = view, time.perf_counter()
    for _ in range(count):
        with torch.inference_mode(), autocast:
            features = network(view).half()
    features.cpu()  # waits for the device
    return count * len(view) / (time.perf_counter() - begun)


def _time_features(
    network: torch.nn.Module, config: Config, source: Source, args: argparse.Namespace
) -> float:
    """Images/s behind the first batch: workers start once, in a set of any size."""
    indices, marks = np.arange(args.images), []
    hook = network.register_forward_hook(lambda *_: marks.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), {}, count=args.images)
        fill(
            cache,
            network,
            lambda done: open_eval_loader(config, source, indices[done:], World()),
            autocast=build_autocast(config.train.precision, config.train.device),
            world=World(),
            tick=lambda _: None,
        )
        ended = time.perf_counter()
    hook.remove()
    return (args.images - args.batch_size) / (ended - marks[0])


def measure_sweep(args: argparse.Namespace) -> Record:
    """The sweep over noise, on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = np.random.default_rng(0)
    labels = generator.integers(0, args.classes, args.count)
    seconds, core_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        features = np.lib.format.open_memmap(
            Path(folder) / "noise.npy", "w+", np.float16, (args.count, args.dims)
        )
        for rows in np.array_split(np.arange(args.count), -(-args.count // 1000)):
            features[rows] = generator.standard_normal((len(rows), args.dims), np.float32)
        for _ in range(args.sweeps):
            core, begun = time.process_time(), time.perf_counter()
            sweep(
                CachedFeatures(features, labels),
                num_classes=args.classes,
                epochs=args.epochs,
                batch_size=1024,
                seed=0,
                device=device,
            )
            seconds.append(time.perf_counter() - begun)
            core_s.append(time.process_time() - core)
    return {
        "scope": "machine",
        "engine": "none",
        "lane": "sweep",
        "work": f"{len(RATES)} rates and the best again, {args.epochs} epochs each, over "
        f"{args.count:,} features of {args.dims} dimensions, {args.classes} classes",
        **{f"num_{name}": getattr(args, name) for name in _SIZES},
        "num_threads": torch.get_num_threads(),
        "seconds": spread(seconds),
        "core_s": spread(core_s),
    }


def _describe(record: Record) -> str:
    lines = [f"{record['lane']}: {record['work']}"]
    for name, unit in (
        ("images_per_s", "images/s"),
        ("percent_of_forward", "% of the forward pass's rate"),
        ("seconds", "s"),
        ("core_s", "core-s"),
    ):
        if name in record:
            figure = record[name]
            lines.append(f"  {figure['median']:,.1f} ± {figure['iqr'] / 2:,.1f} {unit}")
    return "\n".join(lines)
