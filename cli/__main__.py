"""The table of commands. Each is imported on use, so that `--help` answers at once."""

import errno
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from . import __version__
from .output import protect_streams

COMMANDS = {
    "doctor": ("pipeline.doctor", "say what works on this machine, and how to mend what does not"),
    "demo": ("train.demo", "train on generated pictures, or on yours, and show the result"),
    "demo-data": ("pipeline.demo.images", "generate a labelled set of JPEG pictures"),
    "parity": ("benchmarks.parity", "hold every engine's views against the float64 oracle"),
    "preview": ("train.preview", "draw pictures beside their two views"),
    "convert": ("pipeline.convert.command", "write a data set as shards or as a beton"),
    "index": ("pipeline.index.command", "write a manifest beside shards that others have made"),
    "verify": ("pipeline.convert.verify_command", "compare shards with their manifest"),
    "pretrain": ("train.pretrain_command", "pre-train: SimSiam, its variants and its relatives"),
    "bench": (
        "benchmarks.command",
        "images per second of this machine's loaders, of convert, and all of a GPU",
    ),
    "config": ("train.config_command", "every key of the configuration, or of a recipe"),
    "export": ("train.weights.export_command", "trained weights as other tools load them"),
    "import": ("train.weights.import_command", "another trainer's checkpoint as a run folder"),
    "linear": ("train.evaluation.linear_command", "linear evaluation, or fine-tuning"),
    "knn": ("train.evaluation.knn_command", "k-nearest-neighbour accuracy of a checkpoint"),
    "lab": ("train.lab.command", "the paper's tables, run on this machine beside its figures"),
    "report": ("train.reporting.command", "curves, figures and neighbours of runs, side by side"),
}


def usage() -> str:
    """What `swiftsiam --help` prints."""
    lines = [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: swiftsiam COMMAND [arguments]",
            "",
            "SimSiam self-supervised pre-training at the speed of the hardware.",
            "",
            *lines,
            "",
            "`swiftsiam COMMAND --help` explains one; `swiftsiam --version` prints the version.",
        )
    )


def main() -> int:
    """Run one command. Exit codes: 0 done, 1 failed, 2 user's mistake, 75 stopped and saved."""
    protect_streams()
    code = _main(sys.argv[1:])
    sys.stdout.flush()
    return code


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(__version__)
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        print(f"swiftsiam: {_unknown(command)}", file=sys.stderr)
        return 2
    return _run(command, rest)


def _unknown(command: str) -> str:
    import difflib

    nearest = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(COMMANDS)}"
    return f"{command!r} is no command; {hint}"


def _run(command: str, arguments: list[str]) -> int:
    # OpenMP threads that spin for their whole time slice at each barrier make a step tens of times
    # slower as soon as another process (a loader worker) wants the same core. Read when torch is
    # imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        Path.cwd()  # or libraries fail to load, in words of their own
    except FileNotFoundError:
        print(
            f"swiftsiam {command}: the working folder is gone; change to another", file=sys.stderr
        )
        return 2
    try:
        module = import_module(f"swiftsiam.{COMMANDS[command][0]}")
        return _call(module.main, command, arguments)
    except KeyboardInterrupt:
        print(f"swiftsiam {command}: interrupted", file=sys.stderr)
        return 130


def _call(function: Callable[[list[str]], int], command: str, arguments: list[str]) -> int:
    """Tell what has a name in one line; all else keeps its traceback."""
    from swiftsiam.pipeline.errors import MachineError, UserError, one_line

    try:
        return function(arguments)
    except (UserError, MachineError) as error:
        code = 2 if isinstance(error, UserError) else 1
        if error.is_told:
            return code
        message = str(error)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        message, code = f"{error.strerror}; allow more: ulimit -n 4096", 1
    print(f"swiftsiam {command}: {one_line(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
