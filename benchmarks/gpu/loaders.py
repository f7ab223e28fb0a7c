"""How fast the loaders are on this machine, and what is left of the step when they run."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ...pipeline.augment.spec import AugmentConfig, build_train_specs
from ...pipeline.building import build_loader
from ...pipeline.contract import Batch
from ...pipeline.decoder_options import DecoderOptions
from ...pipeline.engines import ENGINES, RESIDENT, installed
from ...pipeline.loader import Loader
from ...pipeline.machine import num_cores
from ...pipeline.sources import Source, open_source
from ...pipeline.sources.memory import MemorySource
from ...train.device import view_dtype
from ..inputs import endless
from ..spread import spread
from .context import Context, Record
from .pictures import find_pictures
from .steps import build_eager_step, make_batch

_LOADS = (0.0, 0.65, 0.75, 0.9, 0.99)
_NUM_CLASSES = 10
_MANY = 2**40  # epochs: the loaders never end


def build(context: Context, source: Source, engine: str, delivers: str, **changes: Any) -> Loader:
    """A training loader as a job has it, in bf16."""
    settings = {
        "specs": build_train_specs(AugmentConfig(size=context.sizes.size)),
        "global_batch_size": min(context.sizes.batch, len(source)),
        "train": True,
        "dtype": torch.bfloat16,
        "device": context.device,
        "num_workers": max(num_cores() - 1, 1) if context.is_cuda else 1,
        "num_epochs": _MANY,
    }
    settings |= {"engine": engine, "delivers": delivers}
    return build_loader(source=source, **(settings | changes))


def measure(context: Context, loader: Loader) -> list[float]:
    """Images per second of each round, from full queues on."""
    batches = endless(loader)
    count = len(next(batches).index)
    each = max(context.sizes.images // count, 1)

    def run() -> None:
        for _ in range(each):
            next(batches)

    run()  # what was made while nobody asked
    return [each * count / context.seconds(run) for _ in range(context.sizes.rounds)]


def loader_times(context: Context) -> Iterator[Record]:
    """Views and crops of each engine; then threads and the hardware decoder's share where the
    decoder is a GPU's.
    """
    source = open_source(find_pictures(context))
    for engine in installed():
        for delivers in ("views", "crops"):
            yield from _race(context, source, engine, delivers)
    for engine in installed():
        if ENGINES[engine].gpu_trial:
            yield from _tune(context, source, engine)


def _tune(context: Context, source: Source, engine: str) -> Iterator[Record]:
    cores = num_cores()
    threads = sorted({min(number, cores) for number in (4, 8, 12, 16)}) if context.is_cuda else [1]
    for number in threads:
        told = f"data.num_workers={number}"
        yield from _race(context, source, engine, "crops", told=told, num_workers=number)
    for load in _LOADS if context.is_cuda else _LOADS[-1:]:
        told, decoder = f"loader.hw_decoder_load={load}", DecoderOptions(hw_load=load)
        yield from _race(context, source, engine, "crops", told=told, decoder=decoder)
    for size in (256, 512) if context.is_cuda else (4,):
        told, decoder = f"loader.decoder_batch={size}", DecoderOptions(batch_size=size)
        yield from _race(context, source, engine, "crops", told=told, decoder=decoder)


def _race(
    context: Context, source: Source, engine: str, delivers: str, *, told: str = "", **changes: Any
) -> Iterator[Record]:
    name = f"{engine}, {delivers}" + (f", {told}" if told else "")
    try:
        with build(context, source, engine, delivers, **changes) as loader:
            workers = loader.options.num_workers
            values = measure(context, loader)
    except Exception as error:  # the next one may work
        yield context.check(name, False, error=f"{type(error).__name__}: {error}"[:500])
        return
    work = f"{ENGINES[engine].work}; {delivers} of {context.sizes.size} px to the device"
    figures = {"num_workers": workers, "delivers": delivers, "settings": told}
    yield context.rate(name, values, scope="loader", engine=engine, work=work, **figures)


def _make_cifar(count: int) -> MemorySource:
    """CIFAR's shape: raw pictures of 32 px, ten classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3072), np.uint8)
    files = [b"P6\n32 32\n255\n" + picture.tobytes() for picture in pixels]
    return MemorySource(files, labels=np.arange(count) % _NUM_CLASSES)


def resident_times(context: Context) -> Iterator[Record]:
    """Views of 32 px of a set that lies on the device: loader alone."""
    source = _make_cifar(context.sizes.num_resident)
    specs = build_train_specs(AugmentConfig(preset="cifar", size=32))
    begun = time.perf_counter()
    with build(context, source, RESIDENT, "crops", specs=specs) as loader:
        start_s = time.perf_counter() - begun
        before = time.process_time()
        values = measure(context, loader)
        core_s = time.process_time() - before
    images = (context.sizes.rounds + 1) * context.sizes.images
    yield context.rate(
        "CIFAR's shape, resident",
        values,
        scope="loader",
        engine=RESIDENT,
        work="pictures of 32 px on the device, cropped and finished there",
        start_s=round(start_s, 1),
        core_ms_per_image=round(1000 * core_s / images, 4),
    )


def end_to_end(context: Context) -> Iterator[Record]:
    """The eager step fed by each loader, beside the same step on a cached batch."""
    source = open_source(find_pictures(context))
    dtype = view_dtype(context.precision, loader_device="gpu")
    step = build_eager_step(context, context.precision)
    count = min(context.sizes.batch, len(source))
    views, labels = make_batch(context, count, context.precision)
    steps = max(context.sizes.images // count, 1)

    def cached() -> None:
        for _ in range(steps):
            step(views, labels)

    for engine in installed():
        for delivers in ("views", "crops"):
            name = f"{engine}, {delivers}"
            try:
                with build(context, source, engine, delivers, dtype=dtype) as loader:
                    batches = endless(loader)

                    def fed(batches: Iterator[Batch] = batches) -> None:
                        for _ in range(steps):
                            batch = next(batches)
                            step(batch.views, batch.label)

                    fed()
                    alone, with_loader = [], []
                    for _ in range(context.sizes.rounds):
                        # The loader goes on working beside the cached batch until it is full.
                        with_loader.append(steps * count / context.seconds(fed))
                        alone.append(steps * count / context.seconds(cached))
            except Exception as error:  # the next one may work
                yield context.check(name, False, error=f"{type(error).__name__}: {error}"[:500])
                continue
            ratio = spread(alone)["median"] / spread(with_loader)["median"]
            yield context.rate(
                name,
                with_loader,
                scope="end-to-end",
                engine=engine,
                work=f"{context.sizes.backbone}, eager {context.precision}, {delivers}",
                cached_images_per_s=spread(alone),
                step_with_loader_over_cached=round(ratio, 3),
            )
