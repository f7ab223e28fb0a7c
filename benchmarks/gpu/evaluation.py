"""Features, their sweep and kNN on the card: as fast as the forward pass, and right."""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ...pipeline.sources import open_source
from ...train.evaluation.knn import predict
from ..features import measure_features, measure_sweep, parse_arguments
from .context import Context, Record
from .pictures import find_pictures

_CLASSES = 100
_CARD_KNN = (1_281_167, 10_000, 2048)
_TOY_KNN = (500, 20, 16)
_CHECKED = (20_000, 200)
"""Bank, queries and dimensions; of those, as many are asked on the CPU as well."""


def evaluation(context: Context) -> Iterator[Record]:
    """As `bench features`, and kNN of ImageNet's size on the device."""
    sizes = context.sizes
    pictures = find_pictures(context)
    images = min(sizes.images, sizes.num_pictures)
    asked = {
        "data": pictures,
        "backbone": sizes.backbone,
        "size": sizes.size,
        "images": images,
        "batch-size": min(sizes.batch, images // 2),
        "rounds": sizes.rounds,
        "sweeps": 1,
    }
    if not context.is_cuda:
        asked |= {"count": 100, "dims": 8, "epochs": 1}
    args = parse_arguments([f"--{name}={value}" for name, value in asked.items()])
    records = [*measure_features(args, open_source(str(pictures))), measure_sweep(args)]
    for record in records:
        yield record | {"part": context.part, "name": record["lane"], "holds": None}
    yield _try_knn(context)


def _try_knn(context: Context) -> Record:
    """Seconds of all queries on the device; a part of them is asked on the CPU as well."""
    num_bank, num_queries, width = _CARD_KNN if context.is_cuda else _TOY_KNN
    generator = torch.Generator(context.device).manual_seed(0)

    def noise(count: int) -> torch.Tensor:
        made = torch.randn(count, width, generator=generator, device=context.device)
        return F.normalize(made, dim=1)

    bank, queries = noise(num_bank), noise(num_queries)
    labels = torch.arange(num_bank, device=context.device) % _CLASSES
    options = {"k": 20, "temperature": 0.1, "num_classes": _CLASSES}
    context.synchronize()
    begun = time.perf_counter()
    predict(queries, bank, labels, **options)  # type: ignore[arg-type]
    context.synchronize()
    seconds = time.perf_counter() - begun
    some, few = bank[: _CHECKED[0]], queries[: _CHECKED[1]]
    here = predict(few, some, labels[: len(some)], **options)  # type: ignore[arg-type]
    there = predict(few.cpu(), some.cpu(), labels[: len(some)].cpu(), **options)  # type: ignore[arg-type]
    agree = float((here.cpu() == there).float().mean())
    return context.check(
        "kNN as on the CPU", agree > 0.99, agree=agree, seconds=seconds, bank=num_bank
    )
