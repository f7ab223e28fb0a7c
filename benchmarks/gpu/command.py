"""`swiftsiam bench gpu`: what is right and what is fast on the GPU that is at hand.

Method: each part is a process with a time limit; it writes its records as it goes, so that nothing
is lost when one fails, hangs or is killed, and the next one begins from a clean device. Checks come
before timings; contestants are interleaved. `--rehearse` runs every line on the CPU at toy sizes,
where no figure means anything.

Reading: a line that does not hold says what is wrong. Rates are medians and interquartile ranges.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import torch

from ...pipeline.arguments import Parser, user_path, whole
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ..machine import make_results_folder
from .context import CARD, TOY, Context, Record
from .parts import PARTS
from .table import print_table

_MINUTES = 25


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench gpu`."""
    parser = Parser(
        prog="swiftsiam bench gpu",
        description="Check and measure everything on the GPU at hand, in 25 minutes at most.",
        epilog="parts: " + "; ".join(f"{name}: {part.what}" for name, part in PARTS.items()),
    )
    parser.add_argument(
        "--data",
        type=user_path,
        help="pictures for the loaders (generated ones of ImageNet's size)",
    )
    parser.add_argument("--parts", help="comma list (all)")
    parser.add_argument(
        "--minutes", type=whole(1, 1000), default=_MINUTES, help="for all parts together (25)"
    )
    parser.add_argument(
        "--out", type=user_path, help="folder for the JSON files (benchmarks/results/<gpu>)"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, at toy sizes: does every line run?"
    )
    parser.add_argument("--serve", nargs=2, metavar=("PART", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the parts and print the table: 0 everything holds, 1 something does not."""
    args = parse_arguments(argv)
    if args.serve:
        serve(args)
        return 0
    names = args.parts.split(",") if args.parts else list(PARTS)
    for name in names:
        if name not in PARTS:
            raise UserError(f"--parts={name}: no such part; one of {', '.join(PARTS)}")
    if not args.rehearse and not torch.cuda.is_available():
        raise UserError("bench gpu: torch sees no CUDA device; --rehearse runs it on the CPU")
    with tempfile.TemporaryDirectory() as folder:
        out = args.out or _default_output(args, folder)
        out.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 60 * args.minutes
        records = []
        for name in names:
            records += run_part(name, args, folder=folder, out=out, deadline=deadline)
    print_table(records)
    if not args.rehearse or args.out:
        print(f"{out}: a JSON file for each part")
    return int(any(record["holds"] is False for record in records))


def _default_output(args: argparse.Namespace, folder: str) -> Path:
    """Figures of a rehearsal mean nothing, and are not kept."""
    return (Path(folder) if args.rehearse else make_results_folder(field="--out")) / "gpu"


def run_part(
    name: str, args: argparse.Namespace, *, folder: str, out: Path, deadline: float
) -> list[Record]:
    """Run one part in a process of its own; returns its records, and that it failed if it did."""
    limit_s = min(PARTS[name].limit_s, deadline - time.monotonic())
    path = Path(folder) / f"{name}.jsonl"
    path.touch()
    begun = time.monotonic()
    print(f"{name}: {PARTS[name].what} …", flush=True)
    failure = ""
    if limit_s <= 1:
        failure = "no time was left for it"
    else:
        command = [sys.executable, "-m", "swiftsiam", "bench", "gpu", "--serve", name, folder]
        command += [f"--data={args.data}"] if args.data else []
        command += ["--rehearse"] if args.rehearse else []
        try:
            code = subprocess.run(command, timeout=limit_s, check=False).returncode
            failure = f"ended with {code}; see above" if code else ""
        except subprocess.TimeoutExpired:
            failure = f"not done in {limit_s:.0f} s"
    records: list[Record] = [json.loads(line) for line in path.read_text().splitlines()]
    if failure:
        records.append({"part": name, "name": "the part itself", "holds": False, "why": failure})
    write_atomically(out / f"{name}.json", (json.dumps(records, indent=2) + "\n").encode())
    print(f"{name}: {len(records)} records in {time.monotonic() - begun:.0f} s", flush=True)
    return records


def serve(args: argparse.Namespace) -> None:
    """Be a part: write its records, one a line, as they come."""
    name, folder = args.serve
    context = Context(
        part=name,
        device=torch.device("cpu") if args.rehearse else torch.device("cuda", 0),
        sizes=TOY if args.rehearse else CARD,
        folder=Path(folder),
        data=args.data,
    )
    run = getattr(import_module(f".{PARTS[name].module}", __package__), name)
    with open(Path(folder) / f"{name}.jsonl", "a") as file:
        for record in run(context):
            print(json.dumps(record, default=str), file=file, flush=True)
