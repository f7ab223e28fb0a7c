"""`swiftsiam demo`: from pictures to features in a few minutes, and what to type next."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, data_path
from ..pipeline.convert.contract import Options
from ..pipeline.convert.driver import convert
from ..pipeline.demo import images
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..pipeline.progress import show_progress
from ..pipeline.sources import open_source
from .config import Config, read_config
from .opening import begin_run
from .pretrain import EXIT_STOPPED, finish_run
from .preview import draw_preview
from .report import Report
from .terminal import Terminal

_DATA = Path("demo-data")
_PICTURES_SEEN = 36_000  # of all epochs together: about two minutes on two cores


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam demo`."""
    parser = Parser(
        prog="swiftsiam demo",
        description="Train SimSiam for a few minutes and show what the features are worth.",
    )
    parser.add_argument("--data", type=data_path, help="your pictures instead of generated ones")
    parser.add_argument(
        "--val", type=data_path, help="labelled pictures to ask about (a fifth of --data)"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """0 done, 75 stopped by a signal."""
    args = parse_arguments(argv)
    if args.val and not args.data:
        raise UserError("--val: is for your own pictures; give --data as well")
    config = _generated() if args.data is None else _own(args.data, args.val)
    report = Report(Terminal())
    opened = begin_run(config, report, name="demo")
    run = opened.run
    assert run is not None
    views = run.path / "views.png"
    assert config.data.path is not None
    draw_preview(config.data.path, views, augment=config.augment, loader=config.loader)
    summary = finish_run(opened, report)
    if summary is None:
        print(f"stopped after saving; continue with: {opened.job.resume_command}")
        return EXIT_STOPPED
    _print_result(summary, Console(highlight=False))
    print(f"run folder   {run.path}")
    print(f"pictures     {run.curves_path} (training), {views} (what the network sees)")
    _print_next(args.data)
    return 0


def _generated() -> Config:
    train, val = prepare_generated()
    return read_config("demo", [f"data.path={train}", f"data.val_path={val}"])


def prepare_generated() -> tuple[str, str]:
    """Generated pictures to train on, as one file, and to ask about; drawn where they are new."""
    made = images.generate(_DATA, num_images=images.DEFAULT_NUM_IMAGES, num_workers=num_cores())
    return str(_as_beton(made)), str(made.val)


def _as_beton(made: images.DemoImages) -> Path:
    """The training pictures in one file, as `swiftsiam convert` makes it; made where it is new."""
    beton = made.train.with_suffix(".beton")
    if made.num_drawn:
        beton.unlink(missing_ok=True)
    if not beton.exists():
        convert(
            open_source(made.train),
            beton,
            options=Options(to="beton"),
            num_workers=num_cores(),
            resume=True,
            progress=show_progress,
            tell=print,
        )
    return beton


def _own(data: str, val: str | None) -> Config:
    """The same recipe, its epochs and pictures cut to a few minutes."""
    source = open_source(data, field="--data")
    limit = min(len(source), _PICTURES_SEEN)
    overrides = [
        f"data.path={data}",
        f"data.limit={limit}",
        f"train.epochs={max(_PICTURES_SEEN // limit, 1)}",
    ]
    if val or source.classes:
        overrides.append(f"data.val_path={val or data}")
    config = read_config("demo", overrides)
    if limit < config.train.batch_size:
        raise UserError(
            f"--data={data}: {limit} pictures are too few; give at least "
            f"{config.train.batch_size}, better a thousand"
        )
    return config


def _print_result(summary: dict[str, Any], console: Console) -> None:
    if summary["knn"] is None:
        console.print(f"loss {summary['loss']:.3f}; no class folders, so no accuracy")
        return
    table = Table(title="kNN accuracy of the features", title_justify="left")
    table.add_column("features of")
    table.add_column("kNN, %", justify="right")
    for name, key in (
        ("raw pixels", "knn_raw_pixels"),
        ("the network before training", "knn_random_initialisation"),
        ("the network after training", "knn"),
    ):
        table.add_row(name, f"{summary[key]:.1f}")
    console.print(table)
    print(
        f"{summary['images_per_s']:,.0f} images/s end-to-end, "
        f"{summary['data_wait_percent']:.0f} % of the time waiting for data; "
        f"loader engine {summary['engine']}; z_std {summary['z_std']:.2f} (collapse would be 0)"
    )


def _print_next(data: str | None) -> None:
    if data is None:
        print("\nYour own pictures next:\n  make demo DATA=/path/to/folder")
        data = "/path/to/folder"
    else:
        print("\nThe paper's recipe next, on a GPU:")
    print(f"  .venv/bin/swiftsiam pretrain --config imagenet-r50-100ep data.path={data}")
