"""What a run takes of the machine: arithmetic, memory, and what it waits for."""

import resource
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..model.method import ModelConfig
from ..pipeline.engines import choose
from ..pipeline.machine import num_cores
from .flops import count_flops

if TYPE_CHECKING:
    from .job import Job

# Dense products, TFLOP/s, of the makers' data sheets: in bf16 or fp16, and in TF32.
_PEAKS = {
    "GB200": (2500, 1250),
    "B200": (2250, 1100),
    "H200": (989, 494),
    "H100 PCIe": (756, 378),
    "H100": (989, 494),
    "GH200": (989, 494),
    "A100": (312, 156),
    "A40": (150, 75),
    "A10": (125, 62),
    "L40S": (362, 183),
    "L40": (181, 90),
    "L4": (121, 60),
    "V100": (125, 15.7),
    "T4": (65, 8.1),
    "RTX 4090": (165, 83),
    "RTX 3090": (71, 36),
}
_MUCH_WAITING = 10.0  # percent


class Usage(NamedTuple):
    """How the figures of a log point are had."""

    flops: int | None
    """Of training on one picture; None: they were not counted."""
    peak: float | None
    """FLOP/s of all devices together; None: not known."""
    is_cuda: bool

    @classmethod
    def of(cls, job: "Job") -> "Usage":
        """Of this job, on this machine."""
        config = job.config
        is_cuda = config.train.device == "cuda"
        peak = find_peak(torch.cuda.get_device_name(), config.train.precision) if is_cuda else None
        flops = job.task.count_flops(config)
        return cls(flops, None if peak is None else peak * job.world.size, is_cuda)

    def take(self, images_per_s: float) -> dict[str, float]:
        """Figures to be logged: peak memory of this process, GB, and model-FLOPs utilisation."""
        figures = {"memory_gb": peak_memory(is_cuda=self.is_cuda) / 1e9}
        if self.flops is not None and self.peak is not None:
            figures["mfu_percent"] = 100 * images_per_s * self.flops / self.peak
        return figures


@cache
def count_of(model: ModelConfig, sizes: tuple[int, ...]) -> int | None:
    """Operations of training on one picture by a method; None: they cannot be counted."""
    try:
        return count_flops(model, sizes=sizes)
    except NotImplementedError:  # something in the method that has no form without data
        return None


def find_peak(name: str, precision: str) -> float | None:
    """FLOP/s of a GPU by its name; None: not known."""
    for known, (half, single) in _PEAKS.items():
        if known in name:
            return 1e12 * (single if precision == "fp32" else half)
    return None


def peak_memory(*, is_cuda: bool) -> int:
    """Bytes: what torch has taken of the GPU, or this process of the host, at most."""
    if is_cuda:
        return torch.cuda.max_memory_reserved()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def advise(job: "Job", figures: dict[str, Any]) -> str | None:
    """One line on what to change where a run waits for data; None: it does not."""
    waited = figures["data_wait_percent"]
    if waited <= _MUCH_WAITING:
        return None
    return f"data-wait {waited:.0f} %: the loader is what limits; {_remedy(job)}"


def _remedy(job: "Job") -> str:
    config = job.config
    is_cuda = config.train.device == "cuda"
    workers = config.data.num_workers or 0
    cores = max(num_cores() // job.world.local_size, 1)
    most = max(cores - 1, 1) if is_cuda else cores
    best, _ = choose({job.source.format}, config.train.device)
    if best != config.loader.engine:
        return f"loader.engine={best} is faster"
    if workers < most:
        return f"data.num_workers={most} uses the cores (now {workers} of {cores})"
    if is_cuda and config.loader.device == "cpu":
        return "loader.device=gpu leaves colours and blur to the GPU"
    if config.augment.size >= 64 and not str(config.data.path).endswith(".beton"):
        return (
            f"all {cores} cores are at work: pictures of 256 px take half the time, by swiftsiam "
            f"convert {config.data.path} SMALL.beton --to beton --max-side 256"
        )
    return f"all {cores} cores are at work: more of them are needed"
