"""`swiftsiam convert`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ..arguments import Parser, data_path, user_path, whole
from ..errors import UserError
from ..machine import num_cores
from ..progress import show_nothing, show_progress
from ..sources import Source, open_source
from ..sources.torchvision_spec import folder_of
from ..world import World
from .contract import Options
from .driver import Outcome, convert
from .finish import rejected_path
from .formats import FORMATS

_TOLD = 10


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam convert`."""
    parser = Parser(
        prog="swiftsiam convert",
        description="Write a data set as shards, or as a beton. JPEG files pass through untouched; "
        "what readers of the format cannot take is converted without loss, and counted. The "
        "samples are shuffled, and what is written is the same for any number of workers.",
        epilog="Example: swiftsiam convert imagenet/train train.beton --to beton. Under torchrun "
        "(torchrun --nproc-per-node=4 -m swiftsiam convert ...) the processes share the work.",
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        type=data_path,
        help="whatever `data.path` may be, torchvision:NAME,root=DIR too; never changed",
    )
    parser.add_argument(
        "target", metavar="DST", type=user_path, help="a new folder, or a new .beton file"
    )
    parser.add_argument(
        "--to", required=True, choices=sorted(FORMATS), help="; ".join(_formats()), metavar="FORMAT"
    )
    parser.add_argument(
        "--workers", type=whole(1, 1024), default=None, metavar="N", help="processes (all cores)"
    )
    parser.add_argument(
        "--shard-size", type=whole(1, 2**20), default=256, metavar="MB", help="of shards (256)"
    )
    parser.add_argument(
        "--seed", type=whole(0, 2**63 - 1), default=0, metavar="N", help="of the shuffling (0)"
    )
    parser.add_argument(
        "--mode",
        choices=("smart", "jpg", "raw"),
        default="smart",
        help="of a beton. smart: JPEG files as they are, all else as raw pixels; jpg: all else as "
        "JPEG; raw: everything as raw pixels, decoded once and for all, several times as large "
        "(smart)",
    )
    parser.add_argument(
        "--quality", type=whole(1, 100), default=95, help="of JPEGs that are made (95)"
    )
    parser.add_argument(
        "--max-side",
        type=whole(1, 65_535),
        default=None,
        metavar="PX",
        help="make larger pictures smaller, as JPEG: their longer side has so many pixels then",
    )
    parser.add_argument(
        "--apply-exif",
        action="store_true",
        help="turn pictures upright as EXIF says, which training ignores; they are encoded anew",
    )
    parser.add_argument(
        "--normalise-jpeg",
        action="store_true",
        help="rewrite progressive JPEGs as baseline ones without loss: they decode about three "
        "times as fast then",
    )
    parser.add_argument(
        "--page-size",
        type=whole(1, 1024),
        default=None,
        metavar="MB",
        help="of a beton, a power of two (8, or what the largest picture takes)",
    )
    parser.add_argument(
        "--max-bad",
        type=whole(0, 2**40),
        default=0,
        metavar="N",
        help="how many pictures may be left out before the exit code is 1 (0); all others are "
        "converted in any case, and all that are left out listed in rejected.csv",
    )
    parser.add_argument("--resume", action="store_true", help="go on where it was killed")
    return parser.parse_args(argv)


def _formats() -> list[str]:
    return [f"{name}: {text}" for name, text in FORMATS.items()]


def main(argv: list[str]) -> int:
    """0 done, 1 more pictures left out than --max-bad."""
    args = parse_arguments(argv)
    target = Path(args.target)
    _check(args, target)
    options = Options(
        to=args.to,
        mode=args.mode if args.to == "beton" else "smart",
        quality=args.quality,
        max_side=args.max_side,
        apply_exif=args.apply_exif,
        normalise_jpeg=args.normalise_jpeg,
        page_size=args.page_size and args.page_size << 20,
        shard_size=args.shard_size * 1_000_000,
        seed=args.seed,
    )
    with World.join() as world:
        tell = _say if world.is_first else _say_nothing
        if not world.is_alone:  # a source that is downloaded is there for the others then
            world.once(lambda: _open(args.source).format)
        outcome = convert(
            _open(args.source),
            target,
            options=options,
            num_workers=args.workers or max(num_cores() // world.local_size, 1),
            resume=args.resume,
            progress=show_progress if world.is_first else show_nothing,
            tell=tell,
            world=world,
        )
    _tell(outcome, target, tell)
    if len(outcome.rejected) > args.max_bad:
        tell(
            f"failed: {len(outcome.rejected)} pictures are left out, and --max-bad is "
            f"{args.max_bad}; all others are converted"
        )
        return 1
    return 0


def _open(source: str) -> Source:
    return open_source(source, field="SRC")


def _say(text: str) -> None:
    print(text, flush=True)


def _say_nothing(text: str) -> None:
    pass


def _check(args: argparse.Namespace, target: Path) -> None:
    if (target.suffix == ".beton") != (args.to == "beton"):
        hint = "a name that ends in .beton" if args.to == "beton" else "a folder"
        raise UserError(f"DST={target}: --to {args.to} writes to {hint}")
    if not target.parent.is_dir():
        raise UserError(f"DST={target}: its folder does not exist; make it first")
    source = folder_of(args.source)
    if target == source or source in target.parents:
        raise UserError(f"DST={target}: lies in SRC, which is never changed; name another place")
    if args.page_size and args.page_size & (args.page_size - 1):
        raise UserError(f"--page-size: {args.page_size}: must be a power of two")


def _tell(outcome: Outcome, target: Path, tell: Callable[[str], None]) -> None:
    size = f"{outcome.num_bytes / 1e6:,.1f} MB"
    tell(f"done: {target}  {outcome.num_samples:,} pictures  {size}")
    for reason, count in outcome.converted.items():
        tell(f"converted    {count:,} {reason}")
    if target.suffix != ".beton" and outcome.num_files < num_cores():
        tell(
            f"note         {outcome.num_files} shards are fewer than this machine's {num_cores()} "
            "cores: readers that give each process shards of its own (ours do not) leave some "
            "without; a smaller --shard-size helps"
        )
    if outcome.rejected:
        where = rejected_path(target)
        tell(f"left out     {len(outcome.rejected):,}, listed in {where}")
        for name, reason in list(outcome.rejected.items())[:_TOLD]:
            tell(f"  {name}: {reason}")
