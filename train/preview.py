"""`swiftsiam preview`: what the network sees, as one picture."""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..pipeline.arguments import Parser, data_path, output, whole
from ..pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    Normalize,
    build_eval_spec,
    build_linear_spec,
    build_train_specs,
)
from ..pipeline.building import build_loader
from ..pipeline.config import LoaderConfig, choose_engine
from ..pipeline.errors import UserError
from ..pipeline.sources import open_source, recognise
from .config import read_config
from .divergence import NAME as DIVERGED
from .divergence import read_batch
from .resume import read_run_config

_GAP = 8
_TEXT_HEIGHT = 22


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam preview`."""
    parser = Parser(
        prog="swiftsiam preview", description="Draw pictures beside their two training views."
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        type=data_path,
        help="a folder of class folders, or a flat folder; or a run's diverged.json",
    )
    parser.add_argument("--out", type=output("--out"), default="views.png", help="PNG (views.png)")
    parser.add_argument("--config", help="take the augmentation of this recipe or file")
    parser.add_argument("--engine", default="auto", help="engine that makes the views (auto)")
    parser.add_argument("--images", type=whole(1, 10_000), default=8, help="number of pictures (8)")
    parser.add_argument("--size", type=whole(8, 1024), help="side of a view, px (the recipe's)")
    parser.add_argument(
        "--epoch", type=whole(0, 2**31), default=0, help="the epoch whose views are drawn (0)"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Write the picture; 0 when done."""
    args = parse_arguments(argv)
    if Path(args.data).name == DIVERGED:
        return _draw_batch(Path(args.data), args)
    overrides = [f"loader.engine={args.engine}"]
    if args.size is not None:
        overrides.append(f"augment.size={args.size}")
    config = read_config(args.config or "imagenet-r50-100ep", overrides)
    draw_preview(
        args.data,
        args.out,
        augment=config.augment,
        loader=config.loader,
        num_images=args.images,
        epoch=args.epoch,
    )
    print(f"{args.out}: left the picture, right its two views in epoch {args.epoch}")
    return 0


def _draw_batch(path: Path, args: argparse.Namespace) -> int:
    """The pictures of a step that went wrong, as the network saw them."""
    if args.config or args.size or args.epoch:
        raise UserError(f"{path}: is drawn as the run had it; leave out --config, --size, --epoch")
    batch, stored = read_batch(path), read_run_config(path.parent, [], field="DATA").config
    indices = np.array([sample["index"] for sample in batch["samples"]])[: args.images]
    assert stored.data.path is not None
    is_linear = any(len(sample.get("views", ())) == 1 for sample in batch["samples"])
    draw_preview(
        stored.data.path,
        args.out,
        augment=stored.augment,
        views=(build_linear_spec(stored.augment),) if is_linear else None,
        loader=stored.loader,
        indices=indices,
        epoch=batch["epoch"],
        seed=batch["seed"],
    )
    count, of = len(indices), len(batch["samples"])
    print(f"{args.out}: {count} of the {of} pictures of step {batch['step']}, with their views")
    return 0


def draw_preview(
    data: str | Path,
    out: Path,
    *,
    augment: AugmentConfig,
    loader: LoaderConfig,
    views: tuple[AugmentSpec, ...] | None = None,
    num_images: int = 8,
    indices: np.ndarray | None = None,
    epoch: int = 0,
    seed: int = 0,
) -> None:
    """Draw pictures spread over the data set, each beside its views, with label and file name.

    Args:
        data: of `open_source`.
        out: PNG file.
        augment: what makes the views.
        loader: which engine makes them.
        views: their specifications; None: those of pre-training.
        num_images: fewer where the data set is smaller.
        indices: of the pictures instead.
        epoch: whose views.
        seed: of the views.
    """
    source = open_source(data, field="DATA")
    if indices is None:
        indices = np.linspace(0, len(source) - 1, min(num_images, len(source))).astype(np.int64)
    count = len(indices)
    # A view is drawn by its number: those of training come first, as in training.
    specs = (*(views or build_train_specs(augment)), build_eval_spec(augment))
    batches = build_loader(
        source=source,
        specs=specs,
        global_batch_size=count,
        train=False,
        seed=seed,
        engine=choose_engine(loader, formats={recognise(data)}, device="cpu")[0],
        indices=indices,
        ops=augment.ops,
    )
    batches.set_epoch(epoch)
    with batches:
        batch = next(iter(batches))
    titles = []
    for index in indices.tolist():
        label = int(source.labels[index])
        name = source.classes[label] if label >= 0 else "no label"
        titles.append(f"{name}  ·  {source.key(index)}")
    *made, pictures = batch.views
    tiles = [[_to_picture(view[row]) for view in (pictures, *made)] for row in range(count)]
    _grid(tiles, titles, side=max(augment.size, 96)).save(out)


def _to_picture(view: torch.Tensor) -> Image.Image:
    """(3, H, W) normalised → what it looks like."""
    normalize = Normalize()
    pixels = view.float().permute(1, 2, 0).numpy() * normalize.std + normalize.mean
    return Image.fromarray((pixels * 255).round().clip(0, 255).astype(np.uint8))


def _grid(tiles: list[list[Image.Image]], titles: list[str], *, side: int) -> Image.Image:
    """Two columns of (picture, view1, view2, …) rows with a title each."""
    columns = 2 if len(tiles) > 1 else 1
    num_tiles = len(tiles[0])
    row_height = side + _TEXT_HEIGHT + _GAP
    column_width = num_tiles * (side + _GAP) + 2 * _GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * column_width, rows * row_height + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for number, (row, title) in enumerate(zip(tiles, titles, strict=True)):
        left = (number % columns) * column_width + _GAP
        top = (number // columns) * row_height + _GAP
        shown = title
        while pen.textlength(shown, font=font) > column_width - 2 * _GAP:
            shown = shown[:-2] + "…"
        pen.text((left, top), shown, fill="black", font=font)
        for place, tile in enumerate(row):
            tile = tile.resize((side, side), Image.Resampling.NEAREST if tile.width < 96 else 1)
            x = left + place * (side + _GAP) + (_GAP if place else 0)
            sheet.paste(tile, (x, top + _TEXT_HEIGHT))
    return sheet
