"""`swiftsiam index`."""

import argparse
from functools import partial
from pathlib import Path

from ..arguments import Parser, user_path, whole
from ..errors import UserError, one_line
from ..machine import num_cores
from ..progress import show_progress
from .contract import Fields
from .driver import Outcome, index_folder

_TOLD = 10


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam index`."""
    parser = Parser(
        prog="swiftsiam index",
        description="Write a manifest beside shards that others have made (WebDataset, TFRecord, "
        "RecordIO), so that data.path can take their folder. All of them are read once: damaged "
        "ones are refused, `swiftsiam verify` finds what changes later. The shards themselves stay "
        "as they are.",
        epilog="Example: swiftsiam index imagenet-wds/train",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=user_path, help="all shards in it, of one format"
    )
    parser.add_argument(
        "--picture",
        metavar="NAME",
        default=None,
        help="which part of a record is the picture: the extension behind the first dot in "
        "WebDataset (any picture's, the first of a sample), the feature in TFRecord "
        "(image/encoded, image, or the only one with a picture)",
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        default=None,
        help="which part is the class number (cls; image/class/label, label, class/label, class)",
    )
    parser.add_argument(
        "--workers", type=whole(1, 1024), default=None, metavar="N", help="processes (all cores)"
    )
    parser.add_argument(
        "--max-bad",
        type=whole(0, 2**40),
        default=0,
        metavar="N",
        help="how many pictures may be damaged before the exit code is 1 (0); the manifest is "
        "written in any case",
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """0 done, 1 more damaged pictures than --max-bad."""
    args = parse_arguments(argv)
    folder = Path(args.folder)
    if not folder.is_dir():
        raise UserError(f"FOLDER={folder}: is no folder; give the one that holds the shards")
    outcome = index_folder(
        folder,
        fields=Fields(picture=args.picture, label=args.label),
        num_workers=args.workers or num_cores(),
        progress=partial(show_progress, unit="shards"),
    )
    _tell(outcome, folder)
    if len(outcome.damaged) > args.max_bad:
        print(
            f"failed: {len(outcome.damaged):,} pictures are damaged, and --max-bad is "
            f"{args.max_bad}; the manifest is written"
        )
        return 1
    return 0


def _tell(outcome: Outcome, folder: Path) -> None:
    labels = f"{outcome.num_classes:,} classes" if outcome.num_classes else "no labels"
    print(
        f"done: {folder}  {outcome.format}  {outcome.num_shards:,} shards  "
        f"{outcome.num_samples:,} pictures  {labels}  {outcome.num_bytes / 1e6:,.1f} MB"
    )
    for reason, count in outcome.left_out.items():
        print(f"left out     {count:,} {reason}")
    if outcome.damaged:
        print(f"damaged      {len(outcome.damaged):,}")
        for name, reason in outcome.damaged[:_TOLD]:
            print(one_line(f"  {name}: {reason}"))
