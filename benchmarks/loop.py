"""`swiftsiam bench loop`: what the ffcv engine's loop costs beside decoding and the views.

Costs: decoding alone, the floor (decoding, drawing and both views on prepared rows, with no crew,
batches or delivery), and the loader, round by round in turn, all of them on the same pictures; core
time of this one process (`loop_rows` says why), from one settled state to the next. Scaling:
the loader and the floor in one thread and in all, beside a plain loop. Boundary: the longest wait
of a steady consumer where epochs meet. Step: a training step fed by the loader over one on a cached
batch while the loader rests. Medians and interquartile ranges over the rounds.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, output, user_path, whole
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from .inputs import generate_pictures
from .loop_loader import Asked, Record, Setting, boundary, open_setting, step
from .loop_rows import Threads, busy_rate
from .machine import default_output
from .neighbours import Neighbours
from .results import write_records
from .spread import spread

_WORK = {
    "decode": "decoding alone, in a compiled loop, from memory",
    "floor": "decoding, drawing and both views of prepared rows, by the engine's maker in its "
    "chunks; no reading, crew, batches or delivery",
    "loader": "all: reading, the crew, batches, delivery; bfloat16",
}


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench loop`."""
    parser = Parser(
        prog="swiftsiam bench loop",
        description="Measure what the ffcv engine's loop costs beside decoding and the views, how "
        "it scales, and whether it is smooth.",
    )
    parser.add_argument(
        "--data", type=user_path, help="folder of class folders of JPEGs (generated pictures)"
    )
    parser.add_argument("--beton", type=user_path, help="a beton of raw pictures, as well")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"comma list ({','.join(PARTS)})")
    parser.add_argument("--workers", type=whole(1, 1024), default=num_cores(), help="(all cores)")
    parser.add_argument("--size", type=whole(8, 1024), default=224, help="side of a view, px (224)")
    parser.add_argument("--batch-size", type=whole(2, 100_000), default=64, help="(64)")
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="rounds of each (5)")
    parser.add_argument(
        "--images", type=whole(1, 2**31), default=1024, help="images in a round (1024)"
    )
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    return parser.parse_args(argv)


def costs(setting: Setting) -> Iterator[Record]:
    """Core time and rate of decoding, the floor and the loader."""
    with setting.build() as loader, contextlib.ExitStack() as stack:
        asked = Asked(loader)
        field = asked.build_field()
        threads: dict[str, Threads] = {
            "decode": field.build_decode(setting.num_workers),
            "floor": field.build_floor(setting.num_workers),
        }
        for each in threads.values():
            stack.callback(each.close)
        rounds: list[dict[str, Any]] = []
        for _ in range(setting.rounds + 1):
            prepared = field.prepare(asked.draw(setting.images))
            if prepared.are_raw:
                threads.pop("decode", None)
            rounds.append({name: each.run(prepared) for name, each in threads.items()})
            rounds[-1]["loader"] = asked.run(setting.images)
        del rounds[0]  # first touch, growing workspaces
    for name in rounds[0]:
        figures: Record = {
            key: spread([getattr(one[name], key) for one in rounds])
            for key in ("core_ms_per_image", "images_per_s")
        }
        beyond = _compare(rounds) if name == "loader" else {}
        yield setting.record(name, _WORK[name], **(figures | beyond))


def _compare(rounds: list[dict[str, Any]]) -> Record:
    """The loader's core time beyond the floor's, over that of decoding and of the floor."""
    cost = {name: [one[name].core_ms_per_image for one in rounds] for name in rounds[0]}
    loop = [loader - floor for loader, floor in zip(cost["loader"], cost["floor"], strict=True)]
    found: Record = {"loop_core_ms_per_image": spread(loop)}
    for key, name in (("decoding", "decode"), ("floor", "floor")):
        if name in cost:  # raw pictures are not decoded
            shares = [100 * a / b for a, b in zip(loop, cost[name], strict=True)]
            found[f"loop_percent_of_{key}"] = spread(shares)
    return found


def scaling(setting: Setting) -> Iterator[Record]:
    """Rates in all threads over those in one, of the loader, of its floor and of a plain loop."""
    count = setting.num_workers
    with contextlib.ExitStack() as stack:
        numbers = sorted({1, count})
        loaders = {n: Asked(stack.enter_context(setting.build(num_workers=n))) for n in numbers}
        field = loaders[count].build_field()
        floors = {n: field.build_floor(n) for n in loaders}
        for floor in floors.values():
            stack.callback(floor.close)
        prepared = field.prepare(loaders[count].draw(setting.images))
        contestants: dict[str, Callable[[int], float]] = {
            "loader": lambda n: loaders[n].run(setting.images).images_per_s,
            "floor": lambda n: floors[n].run(prepared).images_per_s,
            "busy": busy_rate,
        }
        rates: dict[tuple[str, int], list[float]] = {
            (name, n): [] for name in contestants for n in loaders
        }
        for number in range(setting.rounds + 1):
            for name, n in rates:
                rate = contestants[name](n)
                if number:  # the first one warms up
                    rates[name, n].append(rate)
    scales = {name: np.divide(rates[name, count], rates[name, 1]) for name in contestants}
    figures: Record = {
        "images_per_s": spread(rates["loader", count]),
        "images_per_s_of_1": spread(rates["loader", 1]),
    }
    figures |= {f"{name}_scaling": spread(values.tolist()) for name, values in scales.items()}
    for name in ("busy", "floor"):
        figures[f"loader_over_{name}"] = spread((scales["loader"] / scales[name]).tolist())
    work = f"images/s with {count} workers over 1; busy: eight chains of shifts, no memory"
    yield setting.record("scaling", work, **figures)


PARTS: dict[str, Callable[[Setting], Iterator[Record]]] = {
    "costs": costs,
    "scaling": scaling,
    "boundary": boundary,
    "step": step,
}


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    names = args.parts.split(",")
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        raise UserError(f"--parts={unknown[0]}: not one of {', '.join(PARTS)}")
    path = args.json or default_output("loop.json")
    given = [data for data in (args.data, args.beton) if data] or [generate_pictures()]
    settings = {data.name: open_setting(data, args) for data in given}
    neighbours, records = Neighbours(), []
    for name in names:
        for data, setting in settings.items():
            print(f"{name}: {data}", file=sys.stderr, flush=True)
            records += [{"data": data} | record for record in PARTS[name](setting)]
    _print(records)
    write_records(path, records, surroundings=neighbours.tell())
    print(f"written: {path}")
    return 0


def _print(records: list[Record]) -> None:
    table = Table(title="the loop of the ffcv engine", title_justify="left")
    for column in ("data", "contestant", "figure", "median", "±"):
        table.add_column(column, justify="right" if column in ("median", "±") else "left")
    for record in records:
        for key, value in record.items():
            if isinstance(value, dict) and "median" in value:
                figures = f"{value['median']:,.3f}", f"{value['iqr'] / 2:,.3f}"
                table.add_row(record["data"], record["name"], key, *figures)
    Console(highlight=False).print(table)
    for work in dict.fromkeys(f"  {record['name']}: {record['work']}" for record in records):
        print(work)
