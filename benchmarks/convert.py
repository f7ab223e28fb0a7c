"""`swiftsiam bench convert`: pictures per second into each format, beside the disk's own rate.

Method: each contestant converts the same folder in a process of its own, round by round in turn,
and what it wrote is removed before the next one begins. Timed is all from the first picture to the
last rename; the start of Python, its modules, the listing and the workers is told apart from it.
`disk` writes as many bytes as the pictures have, in pieces of 8 MiB by as many workers, and syncs;
`read-only` reads every picture and checks nothing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, output, user_path, whole
from ..pipeline.convert.formats import FORMATS
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..pipeline.pool import Workers
from ..pipeline.sources import open_source
from .machine import default_output
from .neighbours import Neighbours
from .results import write_records
from .spread import spread

_PIECE = 8 << 20


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench convert`."""
    parser = Parser(
        prog="swiftsiam bench convert", description="Measure conversion on this machine."
    )
    parser.add_argument("--data", type=user_path, required=True, help="folder of class folders")
    parser.add_argument("--dst", type=user_path, help="a folder to write in (temporary files)")
    parser.add_argument(
        "--contestants", default=",".join(CONTESTANTS), help=f"comma list ({','.join(CONTESTANTS)})"
    )
    parser.add_argument("--workers", type=whole(1, 1024), default=num_cores(), help="(all cores)")
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="rounds of each (5)")
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


# What a contestant does: (data, dst, workers) → pictures and bytes written.
Run = Callable[[str, Path, int], tuple[int, int]]


def _convert(to: str, **changes: Any) -> Run:
    def run(data: str, dst: Path, num_workers: int) -> tuple[int, int]:
        from ..pipeline.convert.contract import Options
        from ..pipeline.convert.driver import convert
        from ..pipeline.progress import show_nothing

        def progress(what: str, total: int) -> Any:
            if what == "examining":  # the workers are ready
                _begun.append(time.perf_counter())
            return show_nothing(what, total)

        outcome = convert(
            open_source(data),
            dst / ("x.beton" if to == "beton" else "x"),
            options=Options(to=to, **changes),
            num_workers=num_workers,
            resume=False,
            progress=progress,
            tell=lambda text: None,
        )
        return outcome.num_samples, outcome.num_bytes

    return run


def _read_only(data: str, dst: Path, num_workers: int) -> tuple[int, int]:
    source = open_source(data)
    parts = np.array_split(np.arange(len(source)), max(num_workers * 8, 1))
    with Workers(num_workers, prepare=_keep, arguments=(source,)) as workers:
        workers.start(meanwhile=int)
        _begun.append(time.perf_counter())
        return len(source), sum(workers.run(_read_part, parts))


def _keep(kept: Any) -> None:
    global _kept
    _kept = kept


def _read_part(indices: np.ndarray) -> int:
    return sum(len(_kept.read(index)) for index in indices.tolist())


def _disk(data: str, dst: Path, num_workers: int) -> tuple[int, int]:
    source = open_source(data)
    total = sum(source.peek(index, 1).size for index in range(len(source)))
    tasks = [(str(dst / "disk"), start, total) for start in range(0, total, 8 * _PIECE)]
    (dst / "disk").touch()
    with Workers(num_workers, prepare=_keep, arguments=(None,)) as workers:
        workers.start(meanwhile=int)
        _begun.append(time.perf_counter())
        list(workers.run(_write_piece, tasks))
    return len(source), total


_begun: list[float] = []
"""When the work itself began, where that is later than the call."""


def _write_piece(task: tuple[str, int, int]) -> None:
    path, start, total = task
    noise = bytes(range(256)) * (_PIECE // 256)
    file = os.open(path, os.O_WRONLY)
    try:
        for at in range(start, min(start + 8 * _PIECE, total), _PIECE):
            os.pwrite(file, noise[: total - at], at)
        os.fdatasync(file)
    finally:
        os.close(file)


def _ffcv_writer(**limits: int) -> Run:
    def run(data: str, dst: Path, num_workers: int) -> tuple[int, int]:
        from ffcv.fields import IntField, RGBImageField  # pyright: ignore[reportMissingImports]
        from ffcv.writer import DatasetWriter  # pyright: ignore[reportMissingImports]
        from torchvision.datasets import ImageFolder

        image = RGBImageField(write_mode="jpg", jpeg_quality=90, **limits)
        path = dst / "x.beton"
        folder = ImageFolder(data)
        writer = DatasetWriter(
            str(path), {"image": image, "label": IntField()}, num_workers=num_workers
        )
        writer.from_indexed_dataset(folder)
        return len(folder), path.stat().st_size

    return run


CONTESTANTS: dict[str, tuple[Run, str]] = {
    **{name: (_convert(name), f"swiftsiam: {text}") for name, text in FORMATS.items()},
    "beton-256": (_convert("beton", max_side=256, quality=90), "swiftsiam: beton, 256 px at most"),
    "read-only": (_read_only, "every picture read, nothing written"),
    "disk": (_disk, "as many bytes as the pictures have, written and synced"),
    "ffcv-writer": (_ffcv_writer(), "FFCV's DatasetWriter, which encodes anew at quality 90"),
    "ffcv-writer-256": (_ffcv_writer(max_resolution=256), "the same, 256 px at most"),
}


def serve(name: str, args: argparse.Namespace) -> int:
    """The contestant's side: one run, told in JSON on the last line."""
    run, _ = CONTESTANTS[name]
    begun = time.perf_counter()
    count, num_bytes = run(str(args.data), Path(args.dst), args.workers)
    seconds = time.perf_counter() - max([begun, *_begun])
    print(json.dumps({"seconds": seconds, "images": count, "bytes": num_bytes}))
    return 0


def _race(name: str, args: argparse.Namespace, root: Path) -> dict[str, float]:
    """One round of one contestant."""
    folder = Path(tempfile.mkdtemp(dir=root))
    command = [sys.executable, "-m", "swiftsiam", "bench", "convert", "--serve", name]
    options = [f"--data={args.data}", f"--dst={folder}", f"--workers={args.workers}"]
    begun = time.perf_counter()
    try:
        done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True)
        whole_s = time.perf_counter() - begun
        if done.returncode:
            raise RuntimeError(f"{name}: ended with {done.returncode}; see above")
        answer = json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(folder)
    return {
        "images_per_s": answer["images"] / answer["seconds"],
        "mb_per_s": answer["bytes"] / 1e6 / answer["seconds"],
        "start_s": whole_s - answer["seconds"],
        "mb": answer["bytes"] / 1e6,
    }


def main(argv: list[str]) -> int:
    """Measure, print, write JSON; 0 when done."""
    args = parse_arguments(argv)
    if args.serve:
        return serve(args.serve, args)
    names = args.contestants.split(",")
    unknown = sorted(set(names) - set(CONTESTANTS))
    if unknown:
        raise UserError(f"--contestants={unknown[0]}: not one of {', '.join(CONTESTANTS)}")
    path = args.json or default_output("convert.json")
    root = Path(args.dst or tempfile.gettempdir())
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    neighbours = Neighbours()
    for number in range(args.rounds):
        for name in names:
            rounds[name].append(_race(name, args, root))
        print(f"round {number + 1}/{args.rounds}", file=sys.stderr, flush=True)
    records = [
        {"scope": "convert", "engine": name, "work": CONTESTANTS[name][1]}
        | {key: spread([one[key] for one in rounds[name]]) for key in rounds[name][0]}
        | {"num_workers": args.workers, "batch_size": 1}
        for name in names
    ]
    _print(records)
    write_records(path, records, data=Path(args.data).name, surroundings=neighbours.tell())
    print(f"written: {path}")
    return 0


def _print(records: list[dict[str, Any]]) -> None:
    table = Table(title="convert scope: pictures to shards", title_justify="left")
    for column in ("contestant", "images/s", "MB/s", "MB", "start, s"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for record in records:
        table.add_row(
            record["engine"],
            f"{record['images_per_s']['median']:,.0f} ± {record['images_per_s']['iqr'] / 2:,.0f}",
            f"{record['mb_per_s']['median']:,.0f}",
            f"{record['mb']['median']:,.0f}",
            f"{record['start_s']['median']:.1f}",
        )
    Console(highlight=False).print(table)
    for record in records:
        print(f"  {record['engine']}: {record['work']}")
