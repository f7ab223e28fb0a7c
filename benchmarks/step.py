"""`swiftsiam bench step`: the training step alone, on a cached batch, lane by lane.

Contestants: a plain loop as the reference script has it (NCHW, torch's own SGD, no guard against
bad losses), in float32 and at our precision, and with that in NHWC; then our step with nothing
switched on, and with one lane of `train/lanes.py` more each time. All take the same batch of noise,
round by round in an order that is drawn, so that what else the machine does meets all of them. On a
CPU core time is measured as well, which other work disturbs less. Medians and interquartile ranges
over the rounds; gains are medians of each round's ratios. Compiling and warm-up are not in the
rounds. Between the rounds the machine's own rates are taken, of a copy and of matrix products
(`roofline`), and the verdict says which of the two is in the way.
"""

import argparse
import random
import time
from collections.abc import Callable
from typing import NamedTuple, get_args

import torch
from rich.console import Console
from rich.table import Table

from ..model.backbones import BackboneName
from ..model.method import ModelConfig
from ..pipeline.arguments import Parser, output, whole
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..train.device import choose_device, choose_precision, try_compile
from ..train.flops import count_flops
from ..train.lanes import LANES
from .machine import default_output
from .neighbours import Neighbours
from .results import Record, write_records
from .roofline import (
    Ceilings,
    build_ceiling_record,
    build_ceilings,
    count_traffic,
    find_roof,
    judge_step,
)
from .spread import spread
from .step_contestants import Contestant, Setting, build_contestants
from .verdict import print_verdict

_WARM_UP = 4
_PIECES = 3


class Round(NamedTuple):
    """Of one contestant."""

    images_per_s: float
    core_ms_per_image: float


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench step`."""
    parser = Parser(
        prog="swiftsiam bench step",
        description="Measure the training step alone, on a cached batch, lane by lane, beside a "
        "plain loop.",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        choices=get_args(BackboneName),
        help=f"one of {', '.join(get_args(BackboneName))} (resnet50; cifar_resnet18_w16 on a CPU)",
    )
    parser.add_argument("--batch-size", type=whole(2, 100_000), help="pictures (512; 64 on a CPU)")
    parser.add_argument("--size", type=whole(8, 1024), help="side of a view, px (224; 32 on a CPU)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(auto)")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="of the lane of this name (auto: what the hardware has)",
    )
    parser.add_argument(
        "--lanes", help=f"comma list of {', '.join(LANES)} (all; no compile on a CPU)"
    )
    parser.add_argument("--rounds", type=whole(1, 1000), default=9, help="of each (9)")
    parser.add_argument("--steps", type=whole(1, 1000), help="in a round (20; 3 on a CPU)")
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    return parser.parse_args(argv)


def measure(
    setting: Setting, contestants: list[Contestant], ceilings: Ceilings
) -> tuple[dict[str, list[Round]], dict[str, list[float]]]:
    """The rounds of each, and the seconds of each ceiling in each round; what cannot run ends the
    benchmark with its error.
    """
    order = random.Random(0)
    rounds: dict[str, list[Round]] = {contestant.name: [] for contestant in contestants}
    pieces = {"bandwidth": ceilings.bandwidth, **ceilings.products}
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    for contestant in contestants:
        contestant.prepare()
        for _ in range(_WARM_UP):
            contestant.step()
    for piece in pieces.values():
        _take_seconds(setting, piece)
    for _ in range(setting.rounds):
        for contestant in order.sample(contestants, len(contestants)):
            rounds[contestant.name].append(_take_round(setting, contestant))
        for name, piece in pieces.items():
            seconds[name].append(_take_seconds(setting, piece))
    return rounds, seconds


def _take_round(setting: Setting, contestant: Contestant) -> Round:
    contestant.prepare()
    _synchronize(setting.device)
    begun, core_begun = time.perf_counter(), time.process_time()
    for _ in range(setting.steps):
        contestant.step()
    _synchronize(setting.device)
    images = setting.steps * setting.batch_size
    core_s = time.process_time() - core_begun
    return Round(images / (time.perf_counter() - begun), 1000 * core_s / images)


def _take_seconds(setting: Setting, piece: Callable[[], object]) -> float:
    """Of one, of several in turn."""
    _synchronize(setting.device)
    begun = time.perf_counter()
    for _ in range(_PIECES):
        piece()
    _synchronize(setting.device)
    return (time.perf_counter() - begun) / _PIECES


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def build_records(
    setting: Setting, contestants: list[Contestant], rounds: dict[str, list[Round]]
) -> list[Record]:
    """One record for each contestant, with its gains over the one before and the plain loops."""
    flops = count_flops(setting.model, sizes=(setting.size,) * 2)
    traffic = {
        precision: count_traffic(
            setting.model,
            num_views=2,
            size=setting.size,
            batch_size=setting.batch_size,
            precision=precision,
        )
        for precision in {contestant.precision for contestant in contestants}
    }
    records = []
    for number, contestant in enumerate(contestants):
        own = rounds[contestant.name]
        record: Record = {
            "scope": "step",
            "engine": "none",
            "lane": contestant.name,
            "name": setting.model.backbone,
            "images_per_s": spread([r.images_per_s for r in own]),
            "core_ms_per_image": spread([r.core_ms_per_image for r in own]),
            "gflop_per_image": round(flops / 1e9, 3),
            "mb_per_image": round(traffic[contestant.precision] / 1e6, 3),
            "tflop_per_s": spread([r.images_per_s * flops / 1e12 for r in own]),
            "batch_size": setting.batch_size,
            "num_workers": 0,
            "size": setting.size,
            "precision": contestant.precision,
            "work": f"{setting.model.backbone}, {setting.size} px, two views, forward, backward "
            f"and update on a cached batch; {contestant.what}",
        }
        others = [name for name in rounds if name.startswith("plain")]
        if number and contestants[number - 1].name not in others:
            record["gain"] = _compare(own, rounds[contestants[number - 1].name])
        record |= {f"over_{name.replace(' ', '_')}": _compare(own, rounds[name]) for name in others}
        records.append(record)
    return records


def _compare(own: list[Round], other: list[Round]) -> dict[str, float]:
    """How many times as fast, round by round."""
    pairs = zip(own, other, strict=True)
    return spread([one.images_per_s / two.images_per_s for one, two in pairs])


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    path = args.json or default_output("step.json")
    setting = _settle(args)
    if setting.device == "cpu":
        torch.set_num_threads(num_cores())
    contestants = build_contestants(setting, choose_lanes(args.lanes, setting.device))
    precisions = list(dict.fromkeys(contestant.precision for contestant in contestants))
    ceilings = build_ceilings(setting.device, precisions)
    neighbours = Neighbours()
    rounds, seconds = measure(setting, contestants, ceilings)
    surroundings = neighbours.tell()
    records = build_records(setting, contestants, rounds)
    ceiling = build_ceiling_record(ceilings, seconds, device=setting.device)
    for record in records:
        record["roof_percent"] = round(find_roof(record, ceiling).percent, 1)
    lines = judge_step(records, ceiling)
    verdict = {"scope": "verdict", "engine": "none", "work": "the step's lanes", "lines": lines}
    write_records(path, [*records, ceiling, verdict], surroundings=surroundings)
    _show(records, setting)
    print_verdict(lines, surroundings)
    print(f"written: {path}")
    return 0


def _settle(args: argparse.Namespace) -> Setting:
    device = choose_device(args.device).name
    is_cuda = device == "cuda"
    backbone = args.backbone or ("resnet50" if is_cuda else "cifar_resnet18_w16")
    return Setting(
        model=ModelConfig(backbone=backbone),
        batch_size=args.batch_size or (512 if is_cuda else 64),
        size=args.size or (224 if is_cuda else 32),
        device=device,
        precision=choose_precision(args.precision, device).name,
        rounds=args.rounds,
        steps=args.steps or (20 if is_cuda else 3),
    )


def choose_lanes(asked: str | None, device: str) -> list[str]:
    """Those that the device has; compiling takes a minute on a CPU and must be asked for."""
    names = [name for name, lane in LANES.items() if device in lane.devices]
    if asked is None:
        compiles = device == "cuda" and try_compile(device) is None
        return [name for name in names if name != "compile" or compiles]
    chosen = asked.split(",")
    for name in chosen:
        if name not in names:
            raise UserError(f"--lanes={name}: not one of {', '.join(names)} on a {device}")
    return [name for name in names if name in chosen]


def _show(records: list[Record], setting: Setting) -> None:
    title = f"step scope, {setting.model.backbone}, {setting.size} px, on {setting.device}"
    table = Table(title=title, title_justify="left")
    ratios = [key for key in records[0] if key.startswith("over_")]
    table.add_column("lane", no_wrap=True)
    heads = ("images/s", "core-ms", "roof, %", "gain", *(f"/ {key[11:]}" for key in ratios))
    for head in heads:
        table.add_column(head, justify="right")
    for record in records:
        table.add_row(
            record["lane"],
            f"{record['images_per_s']['median']:,.1f}",
            f"{record['core_ms_per_image']['median']:.3f}",
            f"{record['roof_percent']:.0f}",
            *(f"{record[k]['median']:.3f}" if k in record else "" for k in ("gain", *ratios)),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "roof: reached, of what arithmetic and unfused traffic allow; gain: over the row above; "
        "/ …: over that plain loop"
    )
