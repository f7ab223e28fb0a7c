"""`swiftsiam parity`: the certificate that every engine makes the same views.

At equal parameters, each installed engine's views are held against the float64 oracle, operation by
operation and composed, in units of 1/255 before normalisation. What Pillow's own 8-bit chain (the
reference implementation's) differs by stands beside it and is not gated. Rows called "crops" are of
views that the engine leaves to the GPU behind the crop; the same code runs here on the CPU.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from ..pipeline.arguments import Parser, output, user_path, whole
from ..pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    build_eval_spec,
    build_train_specs,
)
from ..pipeline.building import build_loader
from ..pipeline.engines import RESIDENT, installed
from ..pipeline.errors import UserError
from ..pipeline.sources import Source, open_source
from .pillow_views import make_pillow_pixels

SEED = 0
VIEW_LIMITS = (0.1, 0.3)
"""Of the CPU kernel: mean over all pictures, and the mean of the worst one."""
CROP_LIMITS = (0.5, 1.0)
"""The same where views are finished from crops of 8 bits, on a GPU or here by the same code."""
_OPS_OF_CROPS = ("crop", "whole view")


@dataclass(frozen=True, kw_only=True)
class Row:
    """How far an engine is from the oracle in one operation, in 1/255."""

    engine: str
    ops: str
    mean: float
    """Over all pixels of all pictures."""
    worst_image: float
    """Mean of the picture with the largest one."""
    worst_pixel: float
    limit_mean: float | None
    limit_worst_image: float | None

    @property
    def holds(self) -> bool:
        """Within the limits, where there are any."""
        return (self.limit_mean is None or self.mean <= self.limit_mean) and (
            self.limit_worst_image is None or self.worst_image <= self.limit_worst_image
        )


def build_cases(size: int) -> dict[str, AugmentSpec]:
    """One spec for each operation alone (behind the crop), and whole views."""

    def spec(*ops: Op) -> AugmentSpec:
        return AugmentSpec(ops=(RandomResizedCrop(size=size), *ops, Normalize()))

    def only(name: str, amount: float) -> AugmentSpec:
        none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
        return spec(ColorJitter(**(none | {name: amount}), prob=1.0))

    return {
        "crop": spec(),
        "brightness": only("brightness", 0.4),
        "contrast": only("contrast", 0.4),
        "saturation": only("saturation", 0.4),
        "hue": only("hue", 0.1),
        "jitter": spec(ColorJitter(prob=1.0)),
        "grayscale": spec(Grayscale(prob=1.0)),
        "blur": spec(GaussianBlur(prob=1.0)),
        "flip": spec(HorizontalFlip(prob=1.0)),
        "whole view": build_train_specs(AugmentConfig(size=size))[0],
        "evaluation": build_eval_spec(AugmentConfig(size=size)),
    }


def make_pixels(
    source: Source,
    spec: AugmentSpec,
    *,
    engine: str,
    indices: np.ndarray,
    oracle: bool = False,
    delivers: Literal["views", "crops"] = "views",
) -> np.ndarray:
    """Views of these samples before normalisation, (N, 3, size, size) float64 in 1/255."""
    loader = build_loader(
        source=source,
        specs=(spec,),
        global_batch_size=8,
        train=False,
        seed=SEED,
        engine=engine,
        indices=indices,
        ops="oracle" if oracle else "kernel",
        delivers=delivers,
    )
    with loader:
        batches = list(loader)
    made = torch.cat([batch.index for batch in batches]).numpy()
    if not np.array_equal(made, indices):
        raise AssertionError(f"{engine}: made samples {made}, asked for {indices}")
    views = torch.cat([batch.views[0] for batch in batches]).double()
    mean = torch.tensor(spec.normalize.mean).double()[:, None, None]
    std = torch.tensor(spec.normalize.std).double()[:, None, None]
    return ((views * std + mean) * 255).numpy()


def compare(
    engine: str, ops: str, made: np.ndarray, oracle: np.ndarray, limits: tuple[float, float] | None
) -> Row:
    """The distance of one engine's views from the oracle's."""
    difference = np.abs(made - oracle)
    return Row(
        engine=engine,
        ops=ops,
        mean=float(difference.mean()),
        worst_image=float(difference.mean(axis=(1, 2, 3)).max()),
        worst_pixel=float(difference.max()),
        limit_mean=limits[0] if limits else None,
        limit_worst_image=limits[1] if limits else None,
    )


def examine(
    source: Source, *, engines: list[str], size: int, num_images: int
) -> tuple[list[Row], dict[str, Image.Image]]:
    """All rows, and for each engine a picture of its worst whole view."""
    indices = np.linspace(0, len(source) - 1, min(num_images, len(source))).astype(np.int64)
    rows: list[Row] = []
    pictures: dict[str, Image.Image] = {}
    for ops, spec in build_cases(size).items():
        oracle = make_pixels(source, spec, engine="torchvision", indices=indices, oracle=True)
        for engine in engines:
            made = make_pixels(source, spec, engine=engine, indices=indices)
            rows.append(compare(engine, ops, made, oracle, VIEW_LIMITS))
            if ops == "whole view":
                pictures[engine] = _draw_worst(made, oracle)
        for engine in (*engines, RESIDENT) if ops in _OPS_OF_CROPS else ():
            made = make_pixels(source, spec, engine=engine, indices=indices, delivers="crops")
            rows.append(compare(f"{engine}, crops", ops, made, oracle, CROP_LIMITS))
        pillow = make_pillow_pixels(source, spec, indices, seed=SEED)
        rows.append(compare("Pillow, 8 bits", ops, pillow, oracle, None))
    return rows, pictures


def _draw_worst(made: np.ndarray, oracle: np.ndarray) -> Image.Image:
    """The engine's view, the oracle's, and their difference 32 times over, side by side."""
    worst = np.abs(made - oracle).mean(axis=(1, 2, 3)).argmax()
    panels = (made[worst], oracle[worst], 32 * np.abs(made[worst] - oracle[worst]))
    row = np.concatenate(panels, axis=2).transpose(1, 2, 0)
    return Image.fromarray(row.round().clip(0, 255).astype(np.uint8))


def _print(rows: list[Row], console: Console) -> None:
    table = Table(
        title="difference from the float64 oracle, in 1/255, before normalisation",
        title_justify="left",
    )
    table.add_column("engine")
    table.add_column("operations")
    for name in ("mean", "worst image", "worst pixel", "limits", ""):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda r: r.engine):
        limits = f"{row.limit_mean}, {row.limit_worst_image}" if row.limit_mean else "not gated"
        verdict = "ok" if row.holds else "FAILS"
        figures = (f"{row.mean:.3f}", f"{row.worst_image:.3f}", f"{row.worst_pixel:.1f}")
        table.add_row(row.engine, row.ops, *figures, limits, verdict if row.limit_mean else "")
    console.print(table)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line of `swiftsiam parity`."""
    parser = Parser(
        prog="swiftsiam parity", description="Hold every engine's views against the oracle."
    )
    parser.add_argument("--data", type=user_path, help="pictures to use (generated ones)")
    parser.add_argument("--engines", help="comma list (all that are installed)")
    parser.add_argument(
        "--images", type=whole(1, 100_000), default=48, help="number of pictures (48)"
    )
    parser.add_argument("--size", type=whole(8, 1024), default=224, help="side of a view, px (224)")
    parser.add_argument("--json", type=output("--json"), help="write the figures here as well")
    parser.add_argument(
        "--out", type=output("--out"), help="PNG of each engine's worst view: NAME-ENGINE.png"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Print the certificate: 0 all limits hold, 1 one does not."""
    args = parse_arguments(argv)
    engines = args.engines.split(",") if args.engines else installed()
    for engine in engines:
        if engine not in installed():
            raise UserError(f"--engines={engine}: not installed; here are {', '.join(installed())}")
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(args.data or _generate(folder), field="--data")
        rows, pictures = examine(source, engines=engines, size=args.size, num_images=args.images)
    _print(rows, Console(highlight=False))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    for engine, picture in pictures.items() if args.out else ():
        path = args.out.with_name(f"{args.out.stem}-{engine}.png")
        picture.save(path)
        print(f"{path}: worst view of {engine}, the oracle's, their difference 32 times over")
    return int(not all(row.holds for row in rows))


def _generate(folder: str) -> str:
    from ..pipeline.demo.images import generate

    return str(generate(Path(folder) / "pictures", num_images=80, num_workers=1).train)
