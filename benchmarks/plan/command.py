"""`swiftsiam bench plan`: what 8, 64 and 1,024 GPUs need and do, from what one was measured at.

Method: arithmetic over rates that one GPU and one core were measured at (`forecast`), over what
links carry and how long they take (`collectives`), and a simulation of waiting for the slowest
(`stragglers`). Nothing of it is measured at these sizes. Each figure that goes in is printed with
its source; whatever of it you have measured, give (`--step` and `--loader` take results files).
`--check` measures what can be run here, one process and two on CPUs, and holds the same arithmetic
against it (`check`).

Reading: the tables stand there twice: with the batch of each GPU kept, which is what hardware can
do, and with that of all together kept within `--max-batch`, which is what SimSiam was trained with:
the paper's accuracy is the same up to 2,048 and 4 points lower at 4,096. efficiency: images/s over
those of as many GPUs alone; cost: GPU-hours over those of one. Cores and disk are what the GPUs
want, whether the hosts have them or not; the disk is idle once the pictures lie in memory.
"""

import argparse
from typing import get_args

from ...model.backbones import BackboneName
from ...model.method import ModelConfig
from ...pipeline.arguments import Parser, output, real, user_path, whole
from ...pipeline.errors import UserError
from ..machine import default_output
from ..results import write_records
from . import check
from .exchange import count_exchange
from .figures import OPTIONS, build_cluster, build_measured, collect, find_step
from .forecast import Forecast, Statistics, foresee
from .show import advise, build_records, show

_WHOLE = ("batch_size", "gpus_per_host", "cores_per_host")
_MOST_GPUS = 65_536


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench plan`."""
    parser = Parser(
        prog="swiftsiam bench plan",
        description="Say what many GPUs need and do, from what one was measured at.",
    )
    parser.add_argument("--gpus", default="1,8,64,1024", help="comma list (1,8,64,1024)")
    parser.add_argument("--step", type=user_path, metavar="JSON", help="results of bench step")
    parser.add_argument("--loader", type=user_path, metavar="JSON", help="results of bench loader")
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        choices=get_args(BackboneName),
        help=f"one of {', '.join(get_args(BackboneName))} (of --step, else resnet50)",
    )
    parser.add_argument(
        "--max-batch", type=whole(1, 10**8), default=2048, help="of all GPUs together (2048)"
    )
    parser.add_argument(
        "--statistics",
        choices=get_args(Statistics),
        default="all",
        help="whose rows a BatchNorm takes: of all GPUs, of a host's (not in the trainer), or its "
        "own (train.sync_batch_norm=false): other methods where batches are small (all)",
    )
    for name, row in OPTIONS.items():
        bounds = (row.lowest, row.highest)
        kind = whole(*map(round, bounds)) if name in _WHOLE else real(*bounds)
        unit = f", {row.unit.replace('%', '%%')}" if row.unit else ""
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, help=f"{row.what}{unit} ({row.default:g})")
    parser.add_argument(
        "--check", action="store_true", help="measure one process and two here instead"
    )
    parser.add_argument(
        "--rounds", type=whole(1, 1000), default=check.ROUNDS, help=f"of it ({check.ROUNDS})"
    )
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Forecast or check, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    if args.check:
        path = args.json or default_output("plan-check.json")
        check.run(path, rounds=args.rounds, backbone=args.backbone)
        print(f"written to {path}")
        return 0
    gpus = _read_gpus(args)
    figures = collect(args)
    path = args.json or default_output("plan.json")
    backbone = args.backbone or _backbone_of(args)
    exchange = count_exchange(ModelConfig(backbone=backbone))
    measured = build_measured(figures, exchange, statistics=args.statistics)
    cluster = build_cluster(figures)
    plans: dict[str, list[Forecast]] = {
        f"{measured.batch_size:,} pictures a GPU": [foresee(measured, cluster, n) for n in gpus],
        f"at most {args.max_batch:,} pictures together": [
            foresee(measured, cluster, n, max_batch=args.max_batch) for n in gpus
        ],
    }
    write_records(path, build_records(plans, figures, exchange, backbone=backbone))
    show(plans, figures, measured, backbone=backbone)
    print(advise(measured, cluster, max_batch=args.max_batch))
    print(f"written to {path}")
    return 0


def _read_gpus(args: argparse.Namespace) -> list[int]:
    read = whole(1, _MOST_GPUS)
    try:
        gpus = [read(text) for text in args.gpus.split(",")]
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--gpus={args.gpus}: {error}") from None
    if max(gpus) > args.max_batch:
        raise UserError(
            f"--max-batch={args.max_batch}: not a picture for each of {max(gpus):,} GPUs; give a "
            "larger one, or fewer of --gpus"
        )
    return gpus


def _backbone_of(args: argparse.Namespace) -> BackboneName:
    """Of the file's step."""
    if args.step is None:
        return "resnet50"
    record = find_step(args.step)
    name = record.get("name") or record["work"].partition(",")[0]
    for known in get_args(BackboneName):
        if known == name:
            return known
    raise UserError(f"--step={args.step}: does not say which backbone; give --backbone")
