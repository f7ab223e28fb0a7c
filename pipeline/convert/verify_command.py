"""`swiftsiam verify`."""

import argparse
from pathlib import Path

from ..arguments import Parser, data_path, user_path, whole
from ..errors import one_line
from ..machine import num_cores
from ..progress import show_progress
from .verify import verify

_TOLD = 100


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam verify`."""
    parser = Parser(
        prog="swiftsiam verify",
        description="Compare shards, or a beton, with the manifest that `swiftsiam convert` or "
        "`swiftsiam index` wrote: any byte that has changed is found, and the sample named.",
    )
    parser.add_argument(
        "target", metavar="DST", type=user_path, help="a folder of shards, or a beton"
    )
    parser.add_argument(
        "--source",
        metavar="SRC",
        type=data_path,
        help="compare with what it was converted from as well",
    )
    parser.add_argument("--decode", action="store_true", help="decode each picture as well")
    parser.add_argument(
        "--workers", type=whole(1, 1024), default=None, metavar="N", help="processes (all cores)"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """0 sound, 1 damaged."""
    args = parse_arguments(argv)
    count = 0
    for problem in verify(
        Path(args.target),
        source=Path(args.source) if args.source else None,
        decodes=args.decode,
        num_workers=args.workers or num_cores(),
        progress=show_progress,
    ):
        count += 1
        if count <= _TOLD:
            print(one_line(f"damaged: {problem.file}: {problem.what}"), flush=True)
    if count:
        more = f", of which {_TOLD} are listed" if count > _TOLD else ""
        print(f"failed: {count:,} damaged places{more}; convert again, or copy it again")
        return 1
    print(f"sound: {args.target}")
    return 0
