"""Other libraries' loaders making SimSiam's two views, each as its own documentation leads to it.

Each has the recipe's operations as far as the library has them; `work` says what differs. None is
installed with swiftsiam: see the extra `peers`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..pipeline.engines import FFCV, Need
from ..pipeline.errors import UserError
from .batches import count, data_loader, epochs, modules
from .contestant import Contestant, Task, prepared
from .recipe import MEAN, SCALE, STD, TwoViews, pillow_view, tensor_view

_SHUFFLED = 1000  # WebDataset's buffer, samples: what its documentation has
_AHEAD = 3  # batches


def _torchvision_v2(task: Task) -> Iterator[int]:
    """Pillow decodes: torchvision's own decoder is deprecated from 0.29 on, for torchcodec's."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    views = TwoViews(tensor_view(task.size))
    dataset = ImageFolder(task.data, v2.Compose([v2.ToImage(), views]))
    yield from epochs(task, data_loader(task, dataset), lambda batch: batch[0])


def _torchcodec(task: Task) -> Iterator[int]:
    from torchvision.datasets import ImageFolder

    (decoders,) = modules("torchcodec.decoders")
    views = TwoViews(tensor_view(task.size))
    dataset = ImageFolder(task.data, views, loader=decoders.decode_image)
    yield from epochs(task, data_loader(task, dataset), lambda batch: batch[0])


def _lightly(task: Task) -> Iterator[int]:
    data, transforms = modules("lightly.data", "lightly.transforms")
    transform = transforms.SimSiamTransform(input_size=task.size)  # its defaults are the recipe
    dataset = data.LightlyDataset(task.data, transform=transform)
    yield from epochs(task, data_loader(task, dataset), lambda batch: batch[0])


def _spdl(task: Task) -> Iterator[int]:
    """Threads, in each of which FFmpeg decodes and Pillow makes the views: tensors take longer."""
    from PIL import Image
    from torchvision.datasets import ImageFolder

    io, pipelines = modules("spdl.io", "spdl.pipeline")
    views = TwoViews(pillow_view(task.size))
    samples = ImageFolder(task.data).samples
    rgb = io.get_video_filter_desc(pix_fmt="rgb24")

    def shuffled() -> Iterator[tuple[str, int]]:
        while True:
            yield from random.sample(samples, len(samples))

    def load(sample: tuple[str, int]) -> tuple[torch.Tensor, torch.Tensor, int]:
        path, label = sample
        picture = io.to_numpy(io.load_image(path, filter_desc=rgb))
        return *views(Image.fromarray(picture)), label

    def collate(rows: list[tuple[torch.Tensor, torch.Tensor, int]]) -> tuple[torch.Tensor, ...]:
        view1, view2, labels = zip(*rows, strict=True)
        return torch.stack(view1), torch.stack(view2), torch.tensor(labels)

    torch.set_num_threads(1)  # in each of its threads
    threads = max(task.num_workers, 1)
    pipeline = (
        pipelines.PipelineBuilder()
        .add_source(shuffled())
        .pipe(load, concurrency=threads)
        .aggregate(task.batch_size)
        .add_sink(1)
        .build(num_threads=threads)
    )
    with pipeline.auto_stop():
        for rows in pipeline:
            # Not in a stage: each has its queue, and more batches would lie ready than are
            # left out of the wall rate.
            view1, view2, _ = collate(rows)
            yield count(view1, view2)


def _webdataset(task: Task) -> Iterator[int]:
    (wds,) = modules("webdataset")
    views = TwoViews(pillow_view(task.size))
    with prepared(task, "webdataset") as task:
        shards = sorted(str(path) for path in Path(task.data).rglob("*.tar"))
        dataset = (
            # Drawn with replacement: there may be fewer shards than workers.
            wds.WebDataset(shards, resampled=True, shardshuffle=False)
            .shuffle(_SHUFFLED)
            .decode("pil")
            .to_tuple("jpg;png", "cls")
            .map(lambda sample: (*views(sample[0]), sample[1]))
            .batched(task.batch_size, partial=False)
        )
        loader = wds.WebLoader(
            dataset,
            batch_size=None,
            num_workers=task.num_workers,
            multiprocessing_context="fork" if task.num_workers else None,
        )
        for view1, view2, _ in loader:
            yield count(view1, view2)


def _ffcv_stock(task: Task) -> Iterator[int]:
    """FFCV's own loader. An error in its thread leaves it waiting for ever."""
    rgb, loaders, pipeline, ops, numba = modules(
        "ffcv.fields.rgb_image",
        "ffcv.loader",
        "ffcv.pipeline.pipeline_spec",
        "ffcv.transforms",
        "numba",
    )

    def view() -> Any:
        crop = rgb.RandomResizedCropRGBImageDecoder((task.size, task.size), scale=SCALE)
        mean, std = 255 * np.array(MEAN), 255 * np.array(STD)
        transforms = [
            ops.RandomHorizontalFlip(),
            ops.NormalizeImage(mean, std, np.dtype(np.float32)),
            ops.ToTensor(),
            ops.ToTorchImage(),
        ]
        return pipeline.PipelineSpec("image", decoder=crop, transforms=transforms)

    with prepared(task, "beton") as task:
        # It takes 0 threads for all cores, and refuses more than there are.
        threads = min(max(task.num_workers, 1), numba.config.NUMBA_NUM_THREADS)
        loader = loaders.Loader(
            task.data,
            batch_size=task.batch_size,
            num_workers=threads,
            order=loaders.OrderOption.RANDOM,
            drop_last=True,
            batches_ahead=_AHEAD,
            pipelines={"view1": view(), "view2": view(), "image": None, "index": None},
        )
        yield from epochs(task, _Closing(loader), lambda batch: batch[-2:])


@dataclass(frozen=True)
class _Closing:
    """Ends FFCV's thread with the epoch, also with one that is left early."""

    loader: Any

    def __iter__(self) -> Iterator[Any]:
        epoch = iter(self.loader)
        try:
            yield from epoch
        finally:
            epoch.close()


@dataclass(frozen=True, kw_only=True)
class _FFmpeg(Need):
    """FFmpeg's libraries, as SPDL finds them: it is imported without, and then cannot decode."""

    def check(self, engine: str) -> None:
        """See `Need.check`."""
        super().check(engine)
        try:
            import_module("spdl.io.utils").get_ffmpeg_versions()
        except (ImportError, RuntimeError) as error:
            raise UserError(f"{engine}: {self.name}: {error}; {self.remedy}") from error


PEERS: dict[str, Contestant] = {
    "torchvision-v2": Contestant(
        build=_torchvision_v2,
        work="Pillow decodes, torchvision.transforms.v2 on tensors, DataLoader; float32",
    ),
    "torchcodec": Contestant(
        build=_torchcodec,
        work="torchcodec decodes and turns upright by EXIF, torchvision.transforms.v2 on tensors, "
        "DataLoader; float32",
        needs=(Need(name="torchcodec", module="torchcodec", remedy="pip install torchcodec"),),
    ),
    "lightly": Contestant(
        build=_lightly,
        work="lightly's SimSiamTransform and LightlyDataset, DataLoader: Pillow, flip before "
        "jitter; float32",
        needs=(Need(name="lightly", module="lightly", remedy="pip install lightly"),),
    ),
    "spdl": Contestant(
        build=_spdl,
        work="SPDL's pipeline of threads: FFmpeg decodes, with its own colour conversion; views by "
        "Pillow and torchvision transforms; float32",
        needs=(
            Need(name="SPDL", module="spdl.io", remedy="pip install spdl"),
            _FFmpeg(
                name="FFmpeg's libraries",
                module="spdl.io",
                remedy="sudo apt-get install -y ffmpeg",
            ),
        ),
    ),
    "webdataset": Contestant(
        build=_webdataset,
        work="WebDataset reads tar shards, drawn with replacement, samples shuffled in a buffer; "
        "Pillow, torchvision transforms; float32",
        needs=(Need(name="webdataset", module="webdataset", remedy="pip install webdataset"),),
        reads="webdataset",
    ),
    "ffcv-stock": Contestant(
        build=_ffcv_stock,
        work="FFCV's own loader on a beton: decodes twice, once for each view, fast DCT, area "
        "resize; crop and flip alone: no jitter, no grayscale, no blur; float32",
        needs=(FFCV,),
        reads="beton",
    ),
}
"""By name, as `--engines` has it."""
