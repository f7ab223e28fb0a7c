"""`swiftsiam bench knn`: seconds, core-seconds and memory of one evaluation by nearest neighbours.

Method: each round is a process of its own, which makes normalised noise as bank and queries, and
asks `predict` once, after a small call that starts threads and libraries. Wall time is what
neighbours on the machine move; core-seconds (user and system) over the cores are the time that a
quiet machine takes. Memory is the largest resident set of the whole process, told apart by what it
was before: Python with torch, then bank and queries; the rest is the evaluation's own.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from ..pipeline.arguments import Parser, output, whole
from ..pipeline.errors import MachineError
from ..pipeline.machine import num_cores
from .machine import default_output
from .neighbours import Neighbours
from .results import Record, write_records
from .spread import spread

_CLASSES = 1000
_ROWS = 1000  # made at once
_SIZES = ("bank", "queries", "dims", "k", "threads")
_TIMEOUT_S = 1800


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench knn`."""
    parser = Parser(
        prog="swiftsiam bench knn", description="Measure an evaluation by nearest neighbours."
    )
    parser.add_argument("--bank", type=whole(1, 2**31), default=50_000, help="features (50000)")
    parser.add_argument("--queries", type=whole(1, 2**31), default=10_000, help="features (10000)")
    parser.add_argument("--dims", type=whole(1, 65_536), default=2048, help="of a feature (2048)")
    parser.add_argument("--k", type=whole(1, 100_000), default=200, help="that vote (200)")
    parser.add_argument("--threads", type=whole(1, 1024), default=num_cores(), help="(all cores)")
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="(5)")
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def serve(args: argparse.Namespace) -> dict[str, float]:
    """One round, in a process that has done nothing before."""
    import torch

    from ..train.evaluation.knn import predict

    torch.set_num_threads(args.threads)
    begun_mb = _peak_mb()
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.empty(count, args.dims) for count in (args.bank, args.queries))
    for features in (bank, queries):
        for rows in features.split(_ROWS):
            rows.normal_(generator=generator)
            rows /= rows.norm(dim=1, keepdim=True)
    labels = torch.randint(_CLASSES, (args.bank,), generator=generator)
    options: dict[str, Any] = {"k": args.k, "temperature": 0.1, "num_classes": _CLASSES}
    predict(queries[:16], bank[:1000], labels[:1000], **options)
    made_mb = _peak_mb()
    core, begun = time.process_time(), time.perf_counter()
    predict(queries, bank, labels, **options)
    return {
        "seconds": time.perf_counter() - begun,
        "core_s": time.process_time() - core,
        "peak_memory_mb": _peak_mb(),
        "imports_mb": begun_mb,
        "features_mb": (bank.nbytes + queries.nbytes) / 1e6,
        "own_memory_mb": _peak_mb() - made_mb,
    }


def _peak_mb() -> float:
    import resource  # not on Windows

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _race(args: argparse.Namespace) -> dict[str, float]:
    options = [f"--{name}={getattr(args, name)}" for name in _SIZES]
    command = [sys.executable, "-m", "swiftsiam", "bench", "knn", "--serve", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise MachineError(f"bench knn: a round ended with {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(rounds: list[dict[str, float]], args: argparse.Namespace) -> Record:
    """The record of all rounds."""
    return {
        "scope": "machine",
        "engine": "none",
        "lane": "knn",
        "work": f"weighted vote of the {args.k} nearest of {args.bank:,} features for "
        f"{args.queries:,} queries, {args.dims} dimensions, float32, of noise",
        "num_bank": args.bank,
        "num_queries": args.queries,
        "num_dims": args.dims,
        "k": args.k,
        "num_threads": args.threads,
        **{name: spread([each[name] for each in rounds]) for name in rounds[0]},
        "gflop_per_core_s": spread(
            [2e-9 * args.bank * args.queries * args.dims / each["core_s"] for each in rounds]
        ),
    }


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    if args.serve:
        print(json.dumps(serve(args)))
        return 0
    path = args.json or default_output("knn.json")
    neighbours, rounds = Neighbours(), []
    for number in range(args.rounds):
        rounds.append(_race(args))
        print(f"round {number + 1}/{args.rounds}", file=sys.stderr, flush=True)
    record = summarise(rounds, args)
    _print(record)
    write_records(path, [record], surroundings=neighbours.tell())
    print(f"written: {path}")
    return 0


def _print(record: Record) -> None:
    print(record["work"])
    for name, unit in (("seconds", "s"), ("core_s", "core-s"), ("gflop_per_core_s", "")):
        figure = record[name]
        print(f"  {name}: {figure['median']:,.1f} ± {figure['iqr'] / 2:,.1f} {unit}".rstrip())
    parts = ("imports_mb", "features_mb", "own_memory_mb")
    told = ", ".join(f"{name} {record[name]['median']:,.0f}" for name in parts)
    print(f"  peak memory: {record['peak_memory_mb']['median']:,.0f} MB ({told})")
