"""`swiftsiam knn`: accuracy of a checkpoint's features on labelled pictures."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from ..model.simsiam import ModelConfig, SimSiam
from ..pipeline.errors import UserError
from ..pipeline.sources import open_source
from .checkpoint import find_checkpoint, load_checkpoint
from .config import Config, replace
from .device import resolve
from .evaluate import RawPixels, evaluate_knn, open_knn_data
from .run import read_run_config


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam knn`."""
    parser = argparse.ArgumentParser(
        prog="swiftsiam knn",
        description="k-nearest-neighbour accuracy of a checkpoint's features.",
        epilog="With one DATA, the run's own training pictures are the bank.",
    )
    parser.add_argument(
        "checkpoint", metavar="CKPT", type=Path, help="a run folder or its stepN.pt"
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="[BANK] QUERIES: folders of class folders; QUERIES' classes all occur in BANK",
    )
    parser.add_argument("--k", type=int, help="neighbours that vote (the run's eval.k)")
    parser.add_argument("--temperature", type=float, help="of the votes (the run's own)")
    parser.add_argument("--max-bank", type=int, help="random choice of so many bank pictures (all)")
    parser.add_argument(
        "--floors", action="store_true", help="also raw pixels and the network before training"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    args = parser.parse_args(argv)
    if len(args.data) > 2:
        parser.error(f"DATA: one or two folders, not {len(args.data)}")
    return args


def main(argv: list[str]) -> int:
    """Print the figures; 0 when done."""
    args = parse_arguments(argv)
    path = find_checkpoint(args.checkpoint)
    config = _configure(args, path)
    state = load_checkpoint(path)
    model = build_model(config.model, state, path)
    bank = open_source(args.data[0] if len(args.data) == 2 else config.data.path or "")
    torch.set_num_threads(config.train.num_threads or torch.get_num_threads())
    data = open_knn_data(config, bank, queries_path=args.data[-1], field="DATA", max_queries=None)
    networks: dict[str, torch.nn.Module] = {"checkpoint": model.backbone}
    if args.floors:
        torch.manual_seed(config.train.seed)
        networks |= {
            "raw pixels": RawPixels(),
            "random initialisation": SimSiam(config.model).backbone,
        }
    figures: dict[str, Any] = {"step": state["step"], "k": config.eval.k}
    try:
        for name, network in networks.items():
            network.to(config.train.device).to(memory_format=torch.channels_last)  # pyright: ignore
            figures[name] = evaluate_knn(network, data, config)
            print(f"kNN {figures[name]:.2f} %  {name}", flush=True)
    finally:
        data.close()
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _configure(args: argparse.Namespace, path: Path) -> Config:
    """The run's own configuration, for the machine at hand."""
    run = path.parent.parent
    stored = read_run_config(run, [])
    settings: dict[str, Any] = {"max_bank": args.max_bank}
    if args.k is not None:
        settings["k"] = _positive("--k", args.k)
    if args.temperature is not None:
        settings["temperature"] = _positive("--temperature", args.temperature)
    machine = {"device": "auto", "precision": "auto", "num_threads": None}
    return resolve(replace(stored, eval=settings, train=machine, loader={"engine": "auto"})).config


def _positive(name: str, value: float) -> float:
    if value <= 0:
        raise UserError(f"{name}={value}: must be over 0")
    return value


def build_model(config: ModelConfig, state: dict[str, Any], path: Path) -> SimSiam:
    """The network of a checkpoint.

    Raises:
        UserError: the weights do not fit the configuration.
    """
    model = SimSiam(config)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: its weights do not fit model.backbone={config.backbone} of the run's "
            f"config.yaml ({reason})"
        ) from None
    return model
