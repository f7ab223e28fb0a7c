"""`swiftsiam knn`: accuracy of a checkpoint's features on labelled pictures."""

import argparse
import json
from typing import Any

import torch

from ...pipeline.arguments import Parser, data_path, output, real, user_path, whole
from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ...pipeline.sources import open_source
from ..config import Config, replace
from ..device import resolve
from ..weights.trained import ACCEPTED, load_trained
from .encoder import RawPixels
from .labelled import open_labelled
from .monitor import evaluate_knn


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam knn`."""
    parser = Parser(
        prog="swiftsiam knn",
        description="k-nearest-neighbour accuracy of a checkpoint's features.",
        epilog="With one DATA, the run's own training pictures are the bank. A picture that is in "
        "the bank and among the queries does not vote for itself.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=user_path, help=ACCEPTED)
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        type=data_path,
        help="[BANK] QUERIES: labelled pictures in any format; QUERIES' classes all occur in BANK",
    )
    parser.add_argument(
        "--k", type=whole(1, 100_000), help="neighbours that vote (the run's eval.k)"
    )
    parser.add_argument(
        "--temperature",
        type=real(0.001, 1000),
        help="of the votes (the run's own)",
    )
    parser.add_argument(
        "--max-bank",
        type=whole(1, 2**40),
        help="random choice of so many bank pictures (all)",
    )
    parser.add_argument(
        "--floors", action="store_true", help="also raw pixels and the network before training"
    )
    parser.add_argument(
        "--json", metavar="FILE", type=output("--json"), help="write the figures here as well"
    )
    args = parser.parse_args(argv)
    if len(args.data) > 2:
        parser.error(f"DATA: one or two folders, not {len(args.data)}")
    return args


def main(argv: list[str]) -> int:
    """Print the figures; 0 when done."""
    args = parse_arguments(argv)
    trained = load_trained(args.checkpoint)
    stored = trained.config
    if len(args.data) == 1 and stored.data.path is None:
        raise UserError(f"{trained.path}: tells of no training pictures; give BANK and QUERIES")
    bank_path = str(args.data[0]) if len(args.data) == 2 else stored.data.path or ""
    fields = ("BANK" if len(args.data) == 2 else "data.path", "QUERIES")
    bank = open_source(bank_path, field=fields[0])
    queries = open_source(args.data[-1], field=fields[1])
    config = _configure(args, stored, bank_path)
    torch.set_num_threads(config.train.num_threads or torch.get_num_threads())
    data = open_labelled(
        config,
        bank,
        queries,
        fields=(f"{fields[0]}={bank_path}", f"{fields[1]}={args.data[-1]}"),
        max_queries=None,
        splits=False,
    )
    if data.shared:
        print(
            f"{len(data.shared):,} of the {len(data.queries.indices):,} queries are in the bank as "
            "well; none votes for itself",
            flush=True,
        )
    networks: dict[str, torch.nn.Module] = {"checkpoint": trained.build()}
    if args.floors:
        networks |= {
            "raw pixels": RawPixels(),
            "random initialisation": trained.build_untrained(),
        }
    figures: dict[str, Any] = {"step": trained.step, "k": config.eval.k}
    try:
        for name, network in networks.items():
            network.to(config.train.device).to(memory_format=torch.channels_last)  # pyright: ignore
            figures[name] = evaluate_knn(network, data, config)
            print(f"kNN {figures[name]:.2f} %  {name}", flush=True)
    finally:
        data.close()
    if args.json:
        write_atomically(args.json, json.dumps(figures, indent=2).encode() + b"\n")
    return 0


def _configure(args: argparse.Namespace, stored: Config, bank_path: str) -> Config:
    """The run's own configuration, for the data and the machine at hand."""
    settings: dict[str, Any] = {"max_bank": args.max_bank}
    if args.k is not None:
        settings["k"] = args.k
    if args.temperature is not None:
        settings["temperature"] = args.temperature
    data = {"path": bank_path, "val_path": str(args.data[-1])}
    machine = {"device": "auto", "precision": "auto", "num_threads": None}
    config = replace(stored, data=data, eval=settings, train=machine, loader={"engine": "auto"})
    return resolve(config).config
