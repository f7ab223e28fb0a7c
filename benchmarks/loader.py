"""`swiftsiam bench loader`: images per second and core-milliseconds an image of the loaders.

Method: every contestant is a process of its own, warmed up and then asked for rounds in turn, so
that all of them see the same neighbours. Core time is that of its whole process tree from one
settled state (all queues full) to the next, divided by the images delivered between them; the wall
rate leaves out the batches that lay ready. Our engines count where their workers' time goes; that
costs six readings of a clock an image. Files are in the page cache, since all rounds read the same
ones. Medians and interquartile ranges over the rounds; of the time between batches the median and
the 99th percentile over all of them.

Reading: core-ms an image hardly depends on the neighbours and is what A/B comparisons go by;
1,000 / core-ms × cores is the wall rate of a quiet machine. The verdict is on the cheapest of our
engines. A contestant that dies or does not answer is left out, with its reason in the results.
"""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..pipeline.arguments import Parser, output, user_path, whole
from ..pipeline.engines import ENGINES
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..pipeline.sources import open_source
from .bounds import Figures
from .contestant import prepared
from .contestants import CONTESTANTS, Task, installed
from .entries import Entry, measure
from .formats import FORMS, MOST, check_number, choose_forms, converted
from .inputs import generate_pictures
from .loader_table import show
from .machine import default_output
from .neighbours import Neighbours
from .results import Record, write_records
from .serving import serve
from .smaller import Smaller, measure_smaller
from .verdict import Verdict, as_record, judge, print_verdict

_LIMIT_S = 180  # a cold start compiles for half a minute; a large beton is checked


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench loader`."""
    parser = Parser(
        prog="swiftsiam bench loader",
        description="Measure the loaders on this machine, ours and others, and say what limits.",
    )
    parser.add_argument(
        "--data", type=user_path, help="folder of class folders of JPEGs (generated pictures)"
    )
    parser.add_argument(
        "--beton", type=user_path, help="a beton, for the ffcv engine instead of the folder"
    )
    parser.add_argument(
        "--engines", help=f"comma list of {', '.join(CONTESTANTS)} (all that are installed)"
    )
    parser.add_argument(
        "--formats",
        help="the pictures are converted, and the best of our engines reads each: comma list of "
        f"{', '.join(FORMS)}, or all",
    )
    parser.add_argument(
        "--scaling", action="store_true", help="the best of our engines, from 1 worker to all cores"
    )
    parser.add_argument("--workers", type=whole(0, 1024), default=num_cores(), help="(all cores)")
    parser.add_argument("--size", type=whole(8, 1024), default=224, help="side of a view, px (224)")
    parser.add_argument("--batch-size", type=whole(1, 100_000), default=64, help="(64)")
    parser.add_argument("--rounds", type=whole(1, 1000), default=5, help="rounds of each (5)")
    parser.add_argument(
        "--images", type=whole(1, 2**31), default=1024, help="images in a round (1024)"
    )
    parser.add_argument(
        "--limit-s",
        type=whole(1, 100_000),
        default=_LIMIT_S,
        help=f"longest wait for a contestant's answer, s ({_LIMIT_S})",
    )
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def find_best(records: list[Record]) -> Record | None:
    """The cheapest of our engines; None: none came through."""
    ours = [r for r in records if r["engine"] in ENGINES and "failure" not in r]
    return min(ours, key=lambda r: r["core_ms_per_image"]["median"], default=None)


def judge_loader(best: Record, *, data: str, smaller: Smaller | None) -> Verdict:
    """What limits this loader, whatever step it will feed."""
    return judge(
        Figures(
            cores=num_cores(),
            num_workers=best["num_workers"],
            loader_rate=best["images_per_s"]["median"],
            loader_core_ms=best["core_ms_per_image"]["median"],
            stages=best["stages_ms_per_image"],
            data=data,
            smaller=smaller,
        )
    )


def main(argv: list[str]) -> int:
    """Measure, print, write JSON: 0 all came through, 1 some did not."""
    args = parse_arguments(argv)
    if args.serve:
        return serve(args.serve, _build_task(args, str(args.data)))
    forms = choose_forms(",".join(FORMS) if args.formats == "all" else args.formats or "as-is")
    path = args.json or default_output("loader.json")
    data = str(args.data or generate_pictures())
    check_number(data, forms)
    names = choose_contestants(args.engines, data)
    neighbours = Neighbours()
    with contextlib.ExitStack() as stack:  # what some read was converted, and is removed again
        entries = [
            replace(
                entry,
                task=stack.enter_context(prepared(entry.task, CONTESTANTS[entry.engine].reads)),
            )
            for entry in _choose_entries(args, names, data)
        ]
        records = measure(entries, args)
    best = find_best(records)
    verdict = None
    if best is not None:
        verdict = judge_loader(best, data=data, smaller=measure_smaller(open_source(data)))
        records += _measure_more(args, data, best, forms)
        facts = {key: best[key] for key in ("engine", "format", "num_workers", "batch_size")}
        records.append(facts | as_record(verdict, data=data))
    surroundings = neighbours.tell()
    write_records(path, records, data=Path(data).name, surroundings=surroundings)
    show(records)
    print_verdict(verdict.lines if verdict else ["none of our engines came through"], surroundings)
    print(f"written: {path}")
    return int(any("failure" in record for record in records))


def choose_contestants(asked: str | None, data: str) -> list[str]:
    """Those that are asked for, or all that are installed and can read these pictures.

    Raises:
        UserError: one does not exist, is not installed, or would have too many converted for it.
    """
    names = asked.split(",") if asked else installed()
    for name in names:
        if name not in CONTESTANTS:
            raise UserError(f"--engines={name}: not one of {', '.join(CONTESTANTS)}")
        CONTESTANTS[name].check(name)
    if asked is None and len(open_source(data, field="--data")) > MOST:
        names = [name for name in names if CONTESTANTS[name].reads is None]
    for name in names:
        reads = CONTESTANTS[name].reads
        if reads is not None:
            check_number(data, [reads], field=f"--engines={name}")
    return names


def _build_task(args: argparse.Namespace, data: str) -> Task:
    return Task(data=data, size=args.size, batch_size=args.batch_size, num_workers=args.workers)


def _choose_entries(args: argparse.Namespace, names: list[str], data: str) -> list[Entry]:
    task = _build_task(args, data)
    entries = []
    for name in names:
        takes_beton = args.beton and name in ENGINES and ENGINES[name].needs_for_beton
        chosen = replace(task, data=str(args.beton)) if takes_beton else task
        entries.append(Entry(engine=name, task=chosen, form="beton" if takes_beton else "as-is"))
    return entries


def _measure_more(
    args: argparse.Namespace, data: str, best: Record, forms: list[str]
) -> Iterator[Record]:
    """Of the best engine: each format, and each number of workers."""
    task = _build_task(args, data)
    others = [name for name in forms if name != "as-is"]
    with contextlib.ExitStack() as stack:
        if others:
            paths = stack.enter_context(converted(data, ["as-is", *others]))
            entries = [
                Entry(engine=best["engine"], task=replace(task, data=path), form=name)
                for name, path in paths.items()
            ]
            yield from (record | {"name": "formats"} for record in measure(entries, args))
    if args.scaling:
        entries = [
            Entry(engine=best["engine"], task=replace(task, num_workers=count))
            for count in choose_counts(num_cores())
        ]
        yield from (record | {"name": "scaling"} for record in measure(entries, args))


def choose_counts(cores: int) -> list[int]:
    """Numbers of workers on the way to all cores: powers of two, and all."""
    return sorted({2**power for power in range(cores.bit_length()) if 2**power < cores} | {cores})
