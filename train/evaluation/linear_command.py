"""`swiftsiam linear`: what a linear classifier on the features gets right, or the network itself
once it is fine-tuned.
"""

import argparse
import json
from typing import Any

from ...pipeline.arguments import Parser, data_path, output, real, user_path
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ...pipeline.world import World
from ..config import TrainConfig
from ..pretrain import EXIT_STOPPED
from ..report import Report
from ..reporting.paper import find_published
from ..terminal import Terminal
from ..weights.trained import ACCEPTED, Trained, load_trained
from .asked import Asked
from .probing import Probing


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam linear`."""
    parser = Parser(
        prog="swiftsiam linear",
        description="Linear evaluation of a checkpoint's features, as the SimSiam reference does "
        "it; a quick one on cached features; or fine-tuning.",
        epilog="The protocol's settings are keys of the configuration: train.epochs=10 "
        "train.batch_size=1024 optim.base_lr=0.2 data.num_workers=8 loader.engine=dali … The same "
        "command again continues what was stopped.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=user_path, help=ACCEPTED)
    parser.add_argument(
        "train", metavar="TRAIN", type=data_path, help="labelled pictures to learn from"
    )
    parser.add_argument(
        "val", metavar="VAL", type=data_path, help="labelled pictures to be judged by"
    )
    parser.add_argument(
        "--optimizer",
        choices=("lars", "sgd"),
        default="lars",
        help="lars (default): 90 epochs of 4,096 pictures at 0.1 x batch/256; sgd: of 256 at 30",
    )
    parser.add_argument(
        "--labels",
        metavar="PERCENT",
        type=real(1e-6, 100),
        default=100.0,
        help="of each class of TRAIN that is used, 1 and 10 being usual (100)",
    )
    parser.add_argument(
        "--finetune", action="store_true", help="train the backbone as well, for 20 epochs"
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="cache the features once, sweep learning rates over them: minutes instead of hours",
    )
    parser.add_argument(
        "--features",
        choices=("trained", "untrained", "pixels"),
        default="trained",
        help="floors to compare with: the network before training, or 8x8 pixels (trained)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=user_path,
        help="folder of the results (linear/ in the run folder)",
    )
    parser.add_argument(
        "--start-over",
        action="store_true",
        help="begin again; what there is is kept under other names",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=output("--json"), help="write the figures here as well"
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.set_defaults(config=None)
    return parser.parse_intermixed_args(argv)


def main(argv: list[str]) -> int:
    """`swiftsiam linear`: 0 done, 75 stopped by a signal after saving."""
    with World.join(timeout_s=TrainConfig().timeout_s) as world:
        args = world.everyone(lambda: parse_arguments(argv))
        trained = world.everyone(lambda: load_trained(args.checkpoint))
        terminal = Terminal()
        report = Report(terminal) if world.is_first else Report()
        probing = Probing(args, trained, _read_asked(args), report, world)
        summary = probing.sweep() if args.fast else probing.train(argv)
        if world.is_first:
            if summary is None:
                terminal.note(f"stopped after saving; continue with: {probing.resume_command}")
            else:
                terminal.note(tell(trained, summary))
            if summary is not None and args.json:
                write_atomically(args.json, json.dumps(summary, indent=2).encode() + b"\n")
        return world.once(lambda: EXIT_STOPPED if summary is None else 0)


def _read_asked(args: argparse.Namespace) -> Asked:
    if args.fast and args.finetune:
        raise UserError("--fast: sweeps over features that stay; leave it or --finetune out")
    if args.fast and any(text.startswith("optim.") for text in args.overrides):
        raise UserError("--fast: sweeps over learning rates by itself; leave optim.… out")
    if args.finetune and args.features != "trained":
        raise UserError(f"--features={args.features}: is for frozen features, not for --finetune")
    kind = "fast" if args.fast else args.optimizer
    return Asked(
        train=str(args.train),
        val=str(args.val),
        optimizer="sgd" if args.finetune else kind,
        labels=args.labels,
        finetune=args.finetune,
        features=args.features,
    )


def tell(trained: Trained, summary: dict[str, Any]) -> str:
    """The result, and what the paper has for these weights' recipe."""
    accuracy = f"{summary['accuracy']:.2f}"
    text = f"{summary['protocol']}: {accuracy} % of {summary['pictures']:,} pictures"
    published = find_published(trained.config) if trained.step is not None else None
    if published is None:
        return f"{text}; the paper has nothing to compare it with"
    return f"{text}; the paper, for the whole recipe: {published.linear} % ({published.source})"
