"""`swiftsiam bench step`: the training step alone, on a cached batch, lane by lane.

Contestants: a plain loop as the reference script has it (NCHW, torch's own SGD, no guard against
bad losses), in float32 and at our precision, and with that in NHWC; then our step with nothing
switched on, and with one lane of `train/lanes.py` more each time. All take the same batch of noise,
round by round in an order that is drawn, so that what else the machine does meets all of them. On a
CPU core time is measured as well, which other work disturbs less. Medians and interquartile ranges
over the rounds; gains are medians of each round's ratios. Compiling and warm-up are not in the
rounds.
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
from ..model.method import Method, ModelConfig, build_method
from ..pipeline.arguments import Parser, output, whole
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..train.device import build_autocast, choose_device, choose_precision, try_compile
from ..train.flops import count_flops
from ..train.lanes import LANES, Lanes, build_step, switch_on
from ..train.optim import OptimConfig
from .inputs import make_views
from .machine import default_output
from .neighbours import Neighbours
from .results import Record, write_records
from .spread import spread

_WARM_UP = 4
_LR = 0.05


class Setting(NamedTuple):
    """What all contestants have in common."""

    model: ModelConfig
    batch_size: int
    size: int
    """Side of a view, px."""
    device: str
    precision: str
    """Of the lane of this name."""
    rounds: int
    steps: int
    """In a round."""


class Contestant(NamedTuple):
    """One way to take a step."""

    name: str
    what: str
    precision: str
    step: Callable[[], None]


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


def build_contestants(setting: Setting, names: list[str]) -> list[Contestant]:
    """The plain loops, and ours with one lane of `names` more each time."""
    found = [_plain(setting, "fp32", channels_last=False)]
    if setting.precision != "fp32":
        found.append(_plain(setting, setting.precision, channels_last=False))
    found.append(_plain(setting, setting.precision, channels_last=True))
    lanes = Lanes()
    found.append(_ours(setting, lanes, "none", "our step, no lane on"))
    for name in names:
        switched = switch_on(lanes, name, precision=setting.precision)
        if switched != lanes:  # a precision of fp32 is none
            lanes = switched
            found.append(_ours(setting, lanes, f"+ {name}", LANES[name].what))
    return found


def _build_model(setting: Setting) -> Method:
    torch.manual_seed(0)
    return build_method(setting.model).to(setting.device)


def _make_batch(
    setting: Setting, precision: str, layout: torch.memory_format
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Views of noise, and no labels."""
    count, device = setting.batch_size, setting.device
    views = make_views(count, setting.size, precision=precision, device=device, layout=layout)
    return views, torch.full((count,), -1, device=device)


def _plain(setting: Setting, precision: str, *, channels_last: bool) -> Contestant:
    """A loop as anybody writes it."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = _build_model(setting).to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=_LR,
        momentum=0.9,
        weight_decay=1e-4,
    )
    scaler = torch.amp.GradScaler(setting.device, enabled=precision == "fp16")
    autocast = build_autocast(precision, setting.device)
    views, labels = _make_batch(setting, "fp32", layout)

    def step() -> None:
        with autocast:
            loss = model(views, labels).loss
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    name = f"plain {precision}{' NHWC' if channels_last else ''}"
    what = f"a plain loop: {'NHWC' if channels_last else 'NCHW'}, torch's SGD, no guard"
    return Contestant(name, what, precision, step)


def _ours(setting: Setting, lanes: Lanes, name: str, what: str) -> Contestant:
    model = _build_model(setting)
    train = build_step(model, OptimConfig(), lanes, lr=_LR)
    layout = torch.channels_last if lanes.channels_last else torch.contiguous_format
    views, labels = _make_batch(setting, lanes.precision, layout)
    return Contestant(name, what, lanes.precision, lambda: train(views, labels))


def measure(setting: Setting, contestants: list[Contestant]) -> dict[str, list[Round]]:
    """The rounds of each; what cannot run ends the benchmark with its error."""
    order = random.Random(0)
    rounds: dict[str, list[Round]] = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        for _ in range(_WARM_UP):
            contestant.step()
    for _ in range(setting.rounds):
        for contestant in order.sample(contestants, len(contestants)):
            rounds[contestant.name].append(_take_round(setting, contestant.step))
    return rounds


def _take_round(setting: Setting, step: Callable[[], None]) -> Round:
    _synchronize(setting.device)
    begun, core_begun = time.perf_counter(), time.process_time()
    for _ in range(setting.steps):
        step()
    _synchronize(setting.device)
    images = setting.steps * setting.batch_size
    core_s = time.process_time() - core_begun
    return Round(images / (time.perf_counter() - begun), 1000 * core_s / images)


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def build_records(
    setting: Setting, contestants: list[Contestant], rounds: dict[str, list[Round]]
) -> list[Record]:
    """One record for each contestant, with its gains over the one before and the plain loops."""
    flops = count_flops(setting.model, num_views=2, size=setting.size)
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
    contestants = build_contestants(setting, _choose_lanes(args.lanes, setting.device))
    neighbours = Neighbours()
    records = build_records(setting, contestants, measure(setting, contestants))
    write_records(path, records, surroundings=neighbours.tell())
    _show(records, setting)
    print(f"written to {path}")
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


def _choose_lanes(asked: str | None, device: str) -> list[str]:
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
    heads = ("images/s", "core-ms", "gain", *(f"/ {key[11:]}" for key in ratios))
    for head in heads:
        table.add_column(head, justify="right")
    for record in records:
        table.add_row(
            record["lane"],
            f"{record['images_per_s']['median']:,.1f}",
            f"{record['core_ms_per_image']['median']:.3f}",
            *(f"{record[k]['median']:.3f}" if k in record else "" for k in ("gain", *ratios)),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print("gain: over the row above; / …: over that plain loop")
