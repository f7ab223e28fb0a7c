"""What `bench loader` measures: our engines, the recipes that people use today, and the limit.

Each builder gives an endless iterator of batches, each a number of source images turned into two
views. `WORK` says in words what each one does and where it differs.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..pipeline.engines import DALI, ENGINES
from .batches import data_loader, epochs
from .contestant import Contestant, Task
from .inputs import endless
from .peers import PEERS
from .recipe import TwoViews, pillow_view

__all__ = ["CONTESTANTS", "Contestant", "Task", "installed"]


_IN_MEMORY = 4096  # files: of some 110 kB


def _engine(name: str) -> Callable[[Task], Iterator[int]]:
    def build(task: Task) -> Iterator[int]:
        from ..pipeline.augment.spec import AugmentConfig, build_train_specs
        from ..pipeline.building import build_loader
        from ..pipeline.sources import open_source

        loader = build_loader(
            source=open_source(task.data),
            specs=build_train_specs(AugmentConfig(size=task.size)),
            global_batch_size=task.batch_size,
            train=True,
            engine=name,
            dtype=torch.bfloat16,
            num_workers=task.num_workers,
            stages=task.stages,
        )
        return (len(batch.index) for batch in endless(loader))

    return build


def _reference(task: Task) -> Iterator[int]:
    """The reference implementation's pipeline, as its users run it."""
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(task.data, TwoViews(pillow_view(task.size)))
    yield from epochs(task, data_loader(task, dataset), lambda batch: batch[0])


def _dali_types() -> Any:
    """nvidia.dali.types, whose members are made at run time, where no checker sees them."""
    return import_module("nvidia.dali.types")


def _dali_operators(task: Task) -> Iterator[int]:
    """DALI's own operators on the CPU, decode once: what its documentation leads to."""
    from nvidia.dali import fn, pipeline_def

    types = _dali_types()

    @pipeline_def
    def pipeline() -> Any:
        data, label = fn.readers.file(file_root=task.data, random_shuffle=True, name="reader")
        picture = fn.decoders.image(data, device="cpu", output_type=types.RGB)
        return *(_dali_view(picture, task.size) for _ in range(2)), label

    pipe = pipeline(
        batch_size=task.batch_size, num_threads=max(task.num_workers, 1), device_id=None, seed=0
    )
    pipe.build()
    while True:
        view1, view2, _ = pipe.run()
        # As a training loop would have them: tensors of torch.
        batches = [torch.from_numpy(np.asarray(view.as_tensor())) for view in (view1, view2)]
        yield len(batches[0])


def _dali_view(picture: Any, size: int) -> Any:
    from nvidia.dali import fn

    types = _dali_types()

    def sometimes(prob: float, low: float, high: float, otherwise: float) -> Any:
        """A uniform number with this probability, else the one that leaves the picture alone."""
        coin = fn.cast(fn.random.coin_flip(probability=prob), dtype=types.FLOAT)
        return coin * fn.random.uniform(range=[low, high]) + (1 - coin) * otherwise

    view = fn.random_resized_crop(
        picture,
        size=size,
        random_area=[0.2, 1.0],
        interp_type=types.INTERP_TRIANGULAR,
        antialias=True,
    )
    # Each factor's coin is its own, where the recipe tosses one for all four: the work is the same.
    view = fn.color_twist(
        view,
        brightness=sometimes(0.8, 0.6, 1.4, 1.0),
        contrast=sometimes(0.8, 0.6, 1.4, 1.0),
        saturation=sometimes(0.8, 0.6, 1.4, 1.0),
        hue=sometimes(0.8, -36.0, 36.0, 0.0),
    )
    view = fn.hsv(view, saturation=sometimes(0.2, 0.0, 0.001, 1.0))
    # Sigma 0.1 has three taps, of which the middle one is 1: the cheapest way to leave a picture.
    view = fn.gaussian_blur(view, sigma=sometimes(0.5, 0.1, 2.0, 0.1))
    return fn.crop_mirror_normalize(
        view,
        mirror=fn.random.coin_flip(probability=0.5),
        mean=[0.485 * 255, 0.456 * 255, 0.406 * 255],
        std=[0.229 * 255, 0.224 * 255, 0.225 * 255],
        output_layout="HWC",
    )


def _decode_only(task: Task) -> Iterator[int]:
    """The limit of any loader that decodes whole JPEGs: libjpeg-turbo and nothing else."""
    from ..pipeline.decode import decode_rgb

    files = sorted(p for p in Path(task.data).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    encoded = [path.read_bytes() for path in files[:_IN_MEMORY]]
    torch.set_num_threads(1)
    with ThreadPoolExecutor(max(task.num_workers, 1)) as pool:
        rows = itertools.cycle(encoded)
        while True:
            batch = list(itertools.islice(rows, task.batch_size))
            yield sum(1 for _ in pool.map(decode_rgb, batch))


CONTESTANTS: dict[str, Contestant] = {
    **{
        name: Contestant(build=_engine(name), work=f"swiftsiam: {info.work}", needs=info.needs)
        for name, info in ENGINES.items()
        if info.reads_pictures
    },
    "reference": Contestant(
        build=_reference, work="Pillow, torchvision transforms, DataLoader; float32"
    ),
    "dali-operators": Contestant(
        build=_dali_operators,
        work="DALI's own operators: fixed jitter order, linear hue, contrast about 0.5; float32",
        needs=(DALI,),
    ),
    **PEERS,
    "decode-only": Contestant(build=_decode_only, work="libjpeg-turbo decoding alone: the limit"),
}


def installed() -> list[str]:
    """Names of the contestants that can take part here."""
    return [name for name, contestant in CONTESTANTS.items() if not contestant.missing()]
