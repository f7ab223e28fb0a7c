"""`swiftsiam bench tune`: faster settings of the loader for this machine and these pictures.

Method: see `search`. Each setting is a training job in a process of its own, which is asked for
rounds in turn; a round is a few seconds of training fed by the loader, in a steady state, or of the
loader alone (--what loader). Only settings that change no result are tried: not the batch size, and
on a CPU not the threads of the step. What it wins is measured once more, the old against the new.

Reading: a change that is not kept may still be one; it was not proven. Nothing kept is a result.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ...pipeline.arguments import Parser, output, whole
from ...pipeline.errors import UserError
from ...pipeline.files import check_output, write_atomically
from ...pipeline.sources import recognise
from ...train.config import parse_config, read_config, split_override
from ...train.recipes import read_values
from ..inputs import generate_pictures
from ..jobs import add_job_options, build_endless, step_of
from ..machine import default_output
from ..neighbours import Neighbours
from ..racer import SWIFTSIAM, Racer, answer, race
from ..results import Record, write_records
from ..rounds import LoaderRounds
from ..spread import spread
from ..verdict import print_verdict
from .proposals import Proposals
from .search import Changes, Gain, compare, search, tell_changes

_LIMIT_S = 300
_LAST_ROUNDS = 7
_SCOPES = {"training": "end-to-end", "loader": "loader"}
_WORK = {
    "training": "the training step fed by the loader",
    "loader": "the loader alone",
}


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench tune`."""
    parser = Parser(
        prog="swiftsiam bench tune",
        description="Search settings of the loader that are faster on this machine, and write them "
        "as a configuration. A change is kept only where noise cannot explain it.",
        epilog="Example: swiftsiam bench tune --config imagenet-r50-100ep data.path=/data/train "
        "--out tuned.yaml",
    )
    add_job_options(parser)
    parser.add_argument(
        "--what",
        choices=tuple(_SCOPES),
        default="training",
        help="what shall be faster: training, or the loader alone (training)",
    )
    parser.add_argument("--minutes", type=whole(1, 10_000), default=15, help="at most (15)")
    parser.add_argument("--seconds", type=whole(1, 600), default=1, help="a round takes (1)")
    parser.add_argument(
        "--out", type=output("--out"), help="where the configuration goes (tuned.yaml)"
    )
    parser.add_argument(
        "--json", type=output("--json"), help="where to write (benchmarks/results/<machine>)"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_intermixed_args(argv)


def serve(args: argparse.Namespace) -> int:
    """Be one of the settings: rounds of as many seconds as each line on stdin has."""
    job = build_endless(read_config(args.config, args.overrides))
    with job.loader:
        rounds = LoaderRounds(job.loader)
        take = rounds.take if args.what == "loader" else partial(rounds.feed, step_of(job))
        rate = take(2).images_per_s
        answer()
        for line in sys.stdin:
            taken = take(max(round(float(line) * rate / rounds.batch_size), 2))
            rate = taken.images_per_s
            answer(images_per_s=rate, core_ms=taken.core_ms)
    return 0


class Trials:
    """Settings by name, raced against each other; see `search.Measure`."""

    def __init__(self, args: argparse.Namespace, overrides: list[str]) -> None:
        self._args = args
        self._overrides = overrides

    def __call__(self, settings: list[Changes], rounds: int) -> list[list[float]]:
        """Images/s of each in each round."""
        starts = {
            f"{number}: {' '.join(tell_changes(changes)) or 'as it is'}": partial(
                self._start, changes
            )
            for number, changes in enumerate(settings)
        }
        seconds = str(self._args.seconds)
        # They rest by themselves between rounds: see `LoaderRounds`.
        _, answers, _ = race(starts, rounds=rounds, warm_up="0.1", line=seconds, is_watched=False)
        return [[told["images_per_s"] for told in answers.get(name, [])] for name in starts]

    def _start(self, changes: Changes) -> Racer:
        args = self._args
        told = [f"--config={args.config}", f"--what={args.what}", "--serve"]
        settings = [*self._overrides, *tell_changes(changes)]
        name = " ".join(tell_changes(changes)) or "as it is"
        command = [*SWIFTSIAM, "bench", "tune", *told, *settings]
        return Racer(name, command, limit_s=_LIMIT_S)


def main(argv: list[str]) -> int:
    """Search, prove, write: 0 when done, also when nothing better was found."""
    args = parse_arguments(argv)
    if args.serve:
        return serve(args)
    overrides = list(args.overrides)
    config = read_config(args.config, overrides)
    out = args.out or check_output(Path("tuned.yaml").resolve(), field="--out")
    path = args.json or default_output("tune.json")
    if config.data.path is None:
        overrides.append(f"data.path={generate_pictures().resolve()}")
        config = read_config(args.config, overrides)
    values = read_values(args.config)
    proposals = Proposals(
        values,
        overrides,
        format_name=recognise(config.data.path or "", field="data.path"),
    )
    trials, neighbours = Trials(args, overrides), Neighbours()
    deadline = time.monotonic() + 60 * args.minutes
    found = search(
        proposals.all(),
        trials,
        has_time=lambda: time.monotonic() < deadline,
        tell=partial(print, flush=True),
    )
    lines = [f"{args.minutes} minutes were not enough to try everything"] if found.is_cut else []
    records = []
    gain = None
    if found.changes:
        old, new = trials([{}, found.changes], _LAST_ROUNDS)
        if not (old and new):
            raise UserError("bench tune: the settings found could not be run once more")
        gain = compare(old, new)
        records = [_record(args, proposals, {}, old), _record(args, proposals, found.changes, new)]
    lines += _conclude(found.changes, gain)
    kept = found.changes if gain is not None and gain.is_proven else {}
    records.append(_record_verdict(args, proposals, found.lines, lines, kept))
    surroundings = neighbours.tell()
    write_records(path, records, data=Path(config.data.path or "").name, surroundings=surroundings)
    write_config(out, values, overrides, kept)
    print_verdict(lines, surroundings)
    print(f"written: {out}, {path}")
    return 0


def _conclude(changes: Changes, gain: Gain | None) -> list[str]:
    if gain is None:
        return ["nothing was found to be faster: the configuration stays as it is"]
    told = " ".join(tell_changes(changes))
    if gain.is_proven:
        return [f"{told}: {gain} over the configuration as it was"]
    return [f"{told}: {gain}: not proven when measured once more; the configuration stays"]


def _record(
    args: argparse.Namespace, proposals: Proposals, changes: Changes, rates: list[float]
) -> Record:
    config = proposals.resolved(changes)
    return {
        "scope": _SCOPES[args.what],
        "lane": "after" if changes else "before",
        "engine": config.loader.engine,
        "name": config.model.backbone,
        "work": f"{_WORK[args.what]}: {' '.join(tell_changes(changes)) or 'as it was given'}",
        "images_per_s": spread(rates),
        "batch_size": config.train.batch_size,
        "num_workers": config.data.num_workers,
        "size": config.augment.size,
        "precision": config.train.precision,
    }


def _record_verdict(
    args: argparse.Namespace,
    proposals: Proposals,
    tried: list[str],
    lines: list[str],
    kept: Changes,
) -> Record:
    config = proposals.resolved(kept)
    return {
        "scope": "verdict",
        "engine": config.loader.engine,
        "work": f"search of the loader's settings for {_WORK[args.what]}",
        "changes": kept,
        "tried": tried,
        "lines": lines,
    }


def write_config(path: Path, values: dict[str, Any], overrides: list[str], kept: Changes) -> None:
    """What was asked for, with what was found, as `--config` takes it."""
    whole = {name: dict(section or {}) for name, section in values.items()}
    config = parse_config(values, overrides)
    for override in overrides:
        section, key, _ = split_override(override)
        whole.setdefault(section, {})[key] = getattr(getattr(config, section), key)
    for name, value in kept.items():
        section, _, key = name.partition(".")
        whole.setdefault(section, {})[key] = value
    told = "# by swiftsiam bench tune: " + (" ".join(tell_changes(kept)) or "nothing changed")
    text = yaml.safe_dump(whole, sort_keys=False)
    write_atomically(path, f"{told}\n{text}".encode())
