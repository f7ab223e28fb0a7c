"""`swiftsiam bench all`, and `make bench`: what a machine without much time can say of itself.

The step, lane by lane; the loaders, ours and the reference's, each format, from one worker to all
cores; a training job in parts and whole; what clusters would need by these rates; pictures of all
that. Each is a command of its own, with its file in the results of this machine, and its verdict is
repeated in the end. On 2 cores it takes less than ten minutes.
"""

import argparse
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import torch

from ..pipeline.arguments import Parser, user_path
from ..pipeline.errors import MachineError
from ..pipeline.sources import open_source
from .contestants import installed
from .inputs import generate_pictures
from .machine import make_results_folder
from .peers import PEERS
from .racer import SWIFTSIAM
from .results import read_records

_LIMIT_S = 1800  # of one of them


class Part(NamedTuple):
    """A command, and what it writes."""

    arguments: list[str]
    file: str | None


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam bench all`."""
    parser = Parser(
        prog="swiftsiam bench all",
        description="Measure the step, the loaders and a training job on this machine, and say "
        "what limits each.",
    )
    parser.add_argument(
        "--data", type=user_path, help="folder of class folders of JPEGs (generated pictures)"
    )
    parser.add_argument(
        "--out", type=user_path, help="folder for the results (benchmarks/results/<machine>)"
    )
    return parser.parse_args(argv)


def choose_parts(data: str, out: Path) -> list[Part]:
    """What is run, in this order."""
    engines = ",".join(name for name in installed() if name not in PEERS)
    formats = "beton,beton-256,beton-raw"
    loader = ["loader", f"--data={data}", f"--engines={engines}", f"--formats={formats}"]
    plan = ["plan", f"--loader={out / 'loader.json'}"]
    if torch.cuda.is_available():  # a CPU's step says nothing of a GPU's: the assumed one is taken
        plan.append(f"--step={out / 'step.json'}")
    return [
        Part(["step", "--rounds=9"], "step.json"),
        Part([*loader, "--scaling", "--rounds=5", "--images=384"], "loader.json"),
        Part(["train", f"data.path={data}", "--rounds=5"], "train.json"),
        Part(plan, "plan.json"),
        Part(["pictures", str(out)], None),
    ]


def main(argv: list[str]) -> int:
    """Run all, and repeat the verdicts: 0, or the code of the first that failed."""
    args = parse_arguments(argv)
    out = args.out or make_results_folder(field="--out")
    out.mkdir(parents=True, exist_ok=True)
    data = str(args.data or generate_pictures().resolve())
    open_source(data, field="--data")  # told before the minutes that others take
    begun = time.monotonic()
    for part in choose_parts(data, out):
        written = [f"--json={out / part.file}"] if part.file else []
        command = [*SWIFTSIAM, "bench", *part.arguments, *written]
        print(f"bench {part.arguments[0]} …", flush=True)
        try:
            code = subprocess.run(command, check=False, timeout=_LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            raise MachineError(
                f"bench {part.arguments[0]}: not done in {_LIMIT_S} s; see what it waits for"
            ) from None
        if code:
            print(f"bench {part.arguments[0]}: ended with {code}; see above")
            return code
    _repeat_verdicts(out)
    print(f"{out}: results and pictures, in {(time.monotonic() - begun) / 60:.1f} minutes")
    return 0


def _repeat_verdicts(out: Path) -> None:
    for name in ("step", "loader", "train"):
        for record in read_records(out / f"{name}.json", field="--out"):
            if record["scope"] == "verdict":
                for line in record["lines"]:
                    print(f"verdict on the {name}: {line}")
