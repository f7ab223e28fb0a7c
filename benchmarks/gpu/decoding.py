"""DALI's decoder on this device against libjpeg-turbo: what it makes of each kind of JPEG."""

import io
import time
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from ...pipeline.augment.spec import AugmentSpec, Normalize, ResizeCenterCrop
from ...pipeline.contract import EngineOptions, Request, Result
from ...pipeline.decode import decode_rgb
from ...pipeline.engines import ENGINES, build
from ...pipeline.sources.memory import MemorySource
from .context import Context, Record
from .pictures import make_jpeg

_LIMIT = 0.5  # of 255, on average
_SIDE = 320
_TRIES = 5  # in a row: what DALI fails at less often is decoded without it, and would look perfect


def build_kinds() -> dict[str, bytes]:
    """A file of each kind, all 320 x 320 px: whole pictures are cropped, so that nothing but the
    decoder counts.
    """
    picture = Image.open(io.BytesIO(make_jpeg(3, quality=98))).resize((_SIDE, _SIDE))

    def encode(image: Image.Image, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **({"quality": 90} | options))
        return buffer.getvalue()

    odd = picture.resize((_SIDE - 1, _SIDE - 3))
    return {
        "4:2:0": encode(picture, subsampling="4:2:0"),
        "4:2:2": encode(picture, subsampling="4:2:2"),
        "4:4:4": encode(picture, subsampling="4:4:4"),
        "gray": encode(picture.convert("L")),
        "progressive": encode(picture, progressive=True),
        "odd sides": encode(odd, subsampling="4:2:0"),
        "restart markers": encode(picture, restart_marker_rows=1),
    }


def decoding(context: Context) -> Iterator[Record]:
    """Mean and worst difference for each kind, and how long a failure takes."""
    name = next(name for name, info in ENGINES.items() if info.gpu_trial)
    missing = ENGINES[name].missing()
    if missing:
        yield context.check(name, None, why=f"{missing[0].name} is not installed")
        return
    for kind, file in build_kinds().items():
        expected = decode_rgb(file)
        size = min(expected.shape[:2])
        try:
            crops, _ = _decode(context, name, [file] * _TRIES, size=size)
        except RuntimeError as error:  # another kind may work
            why = str(error.__cause__ or error).strip()[:300]
            yield context.check(kind, False, why=why)
            continue
        difference = np.abs(crops.astype(int) - _center(expected, size))
        mean, worst = float(difference.mean()), int(difference.max())
        yield context.check(kind, mean <= _LIMIT, mean=mean, worst_pixel=worst)
    good = build_kinds()["4:2:0"]
    _, healthy_s = _decode(context, name, [good] * 40, size=_SIDE)
    broken = [good[: len(good) // 2] + b"\xff\xd9", *[good] * 39]
    _, broken_s = _decode(context, name, broken, size=_SIDE)
    yield context.check("a damaged file", None, healthy_s=healthy_s, with_damage_s=broken_s)


def _center(picture: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) / 2 for side in picture.shape[:2])
    return picture[int(np.rint(top)) :, int(np.rint(left)) :][:size, :size].astype(int)


def _decode(
    context: Context, engine_name: str, files: list[bytes], *, size: int
) -> tuple[np.ndarray, float]:
    """(N, size, size, 3) uint8: the middle of each picture; and seconds, without the start."""
    crop = ResizeCenterCrop(size=size, resize=size)
    options = EngineOptions(
        source=MemorySource(files),
        specs=(AugmentSpec(ops=(crop, Normalize())),),
        seed=0,
        batch_size=1,
        dtype=torch.float32,  # of views, which nobody makes here
        device=context.device,
        num_workers=2,
        max_bad_samples=None,
        delivers="crops",
    )
    engine = build(engine_name, options)
    requests = [Request(0, np.array([number])) for number in range(len(files))]
    results = engine.stream(iter(requests))
    try:
        first = next(results)
        begun = time.perf_counter()
        rest = [_to_host(result) for result in results]
        elapsed = time.perf_counter() - begun
    finally:
        engine.close()
    return np.concatenate([_to_host(first), *rest]), elapsed


def _to_host(result: Result) -> np.ndarray:
    if result.ready is not None:
        result.ready.synchronize()
    return result.pixels[0].cpu().numpy()
