"""`swiftsiam bench loader`: images per second and core-milliseconds an image of the loaders.

Method: every contestant is a process of its own, warmed up and then asked for rounds in turn, so
that all of them see the same neighbours. Core time is that of its whole process tree from one
settled state (all queues full) to the next, divided by the images delivered between them; the wall
rate leaves out the batches that lay ready. Medians and interquartile ranges over the rounds.

Reading: core-ms an image hardly depends on the neighbours and is what A/B comparisons go by;
1,000 / core-ms × cores is the wall rate of a quiet machine.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, output, user_path, whole
from ..pipeline.engines import ENGINES
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from .contestants import CONTESTANTS, Task
from .inputs import generate_pictures
from .machine import default_output
from .neighbours import Neighbours
from .results import write_records
from .spread import spread

_AHEAD = 4  # batches for each worker that may lie ready: not counted in the wall rate


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench loader`."""
    parser = Parser(
        prog="swiftsiam bench loader", description="Measure the loaders on this machine."
    )
    parser.add_argument(
        "--data", type=user_path, help="folder of class folders of JPEGs (generated pictures)"
    )
    parser.add_argument(
        "--beton", type=user_path, help="a beton, for the ffcv engine instead of the folder"
    )
    parser.add_argument("--engines", default=",".join(CONTESTANTS), help="comma list (all)")
    parser.add_argument("--workers", type=whole(0, 1024), default=num_cores(), help="(all cores)")
    parser.add_argument("--size", type=whole(8, 1024), default=224, help="side of a view, px (224)")
    parser.add_argument("--batch-size", type=whole(1, 100_000), default=64, help="(64)")
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="rounds of each (5)")
    parser.add_argument(
        "--images", type=whole(1, 2**31), default=1024, help="images in a round (1024)"
    )
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


class Racer:
    """A contestant's process."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        command = [sys.executable, "-m", "swiftsiam", "bench", "loader", "--serve", name]
        self._process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._tree = psutil.Process(self._process.pid)
        self.startup_s = float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with {self._process.wait()}; see above")
        return line

    def _core_s(self) -> float:
        """Of the whole tree so far."""
        total = 0.0
        for process in (self._tree, *self._tree.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def settle(self) -> float:
        """Wait until all queues are full; returns the core seconds so far."""
        before = self._core_s()
        while True:
            time.sleep(0.25)
            after = self._core_s()
            if after - before < 0.02:
                return after
            before = after

    def run(self, images: int) -> dict[str, float]:
        """One round."""
        before = self.settle()
        assert self._process.stdin is not None
        print(images, file=self._process.stdin, flush=True)
        answer = json.loads(self._answer())
        core_s = self.settle() - before
        return {
            "images_per_s": answer["images_per_s"],
            "core_ms_per_image": 1000 * core_s / answer["images"],
            "memory_mb": self._memory() / 1e6,
        }

    def _memory(self) -> float:
        tree = (self._tree, *self._tree.children(recursive=True))
        return float(sum(process.memory_full_info().pss for process in tree))

    def stop(self) -> None:
        """End the process and its workers."""
        for process in (*self._tree.children(recursive=True), self._tree):
            process.kill()
        self._process.wait()


def serve(name: str, task: Task) -> int:
    """The contestant's side: a number of images on stdin, a wall rate on stdout."""
    begun = time.perf_counter()
    batches = CONTESTANTS[name].build(task)
    next(batches)
    print(time.perf_counter() - begun, flush=True)
    ahead = _AHEAD * max(task.num_workers, 1)
    for line in sys.stdin:
        images = sum(next(batches) for _ in range(ahead))
        started, timed = time.perf_counter(), 0
        while timed < int(line):
            timed += next(batches)
        rate = timed / (time.perf_counter() - started)
        print(json.dumps({"images_per_s": rate, "images": images + timed}), flush=True)
    return 0


def _record(racer: Racer, rounds: list[dict[str, float]], task: Task) -> dict[str, Any]:
    columns = {key: [r[key] for r in rounds] for key in rounds[0]}
    return {
        "scope": "loader",
        "engine": racer.name,
        "images_per_s": spread(columns["images_per_s"]),
        "core_ms_per_image": spread(columns["core_ms_per_image"]),
        "memory_mb": spread(columns["memory_mb"]),
        "first_batch_s": round(racer.startup_s, 2),
        "batch_size": task.batch_size,
        "num_workers": task.num_workers,
        "size": task.size,
        "work": CONTESTANTS[racer.name].work,
    }


def measure(names: list[str], tasks: dict[str, Task], *, rounds: int, images: int) -> list[Any]:
    """Race the contestants; one record each."""
    racers, results = [], {name: [] for name in names}
    try:
        for name in names:
            racers.append(Racer(name, _arguments(tasks[name])))
            racers[-1].run(images // 4)  # caches, allocators, lazily built parts
        for number in range(rounds):
            for racer in racers:
                results[racer.name].append(racer.run(images))
            print(f"round {number + 1}/{rounds}", file=sys.stderr, flush=True)
        return [_record(racer, results[racer.name], tasks[racer.name]) for racer in racers]
    finally:
        for racer in racers:
            racer.stop()


def _arguments(task: Task) -> list[str]:
    pairs = {
        "--data": task.data,
        "--size": task.size,
        "--batch-size": task.batch_size,
        "--workers": task.num_workers,
    }
    return [f"{key}={value}" for key, value in pairs.items()]


def _print(records: list[dict[str, Any]]) -> None:
    table = Table(title="loader scope: images to two views", title_justify="left")
    for column in ("contestant", "core-ms/image", "images/s", "first batch, s", "memory, MB"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for record in sorted(records, key=lambda r: r["core_ms_per_image"]["median"]):
        table.add_row(
            record["engine"],
            f"{record['core_ms_per_image']['median']:.2f}",
            f"{record['images_per_s']['median']:,.0f} ± {record['images_per_s']['iqr'] / 2:,.0f}",
            f"{record['first_batch_s']:.1f}",
            f"{record['memory_mb']['median']:,.0f}",
        )
    Console(highlight=False).print(table)
    for record in records:
        print(f"  {record['engine']}: {record['work']}")


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    names = [args.serve] if args.serve else args.engines.split(",")
    unknown = sorted(set(names) - set(CONTESTANTS))
    if unknown:
        raise UserError(f"--engines={unknown[0]}: not one of {', '.join(CONTESTANTS)}")
    data = str(args.data or generate_pictures())
    task = Task(data=data, size=args.size, batch_size=args.batch_size, num_workers=args.workers)
    if args.serve:
        return serve(args.serve, task)
    tasks = dict.fromkeys(names, task)
    for name in names if args.beton else ():
        if name in ENGINES and ENGINES[name].needs_for_beton:
            tasks[name] = replace(task, data=str(args.beton))
    path = args.json or default_output("loader.json")
    neighbours = Neighbours()
    records = measure(names, tasks, rounds=args.rounds, images=args.images)
    _print(records)
    write_records(path, records, data=Path(data).name, surroundings=neighbours.tell())
    print(f"written: {path}")
    return 0
