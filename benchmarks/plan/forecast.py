"""From what one GPU was measured at to what N of them do and need: arithmetic alone.

A step of N GPUs is that of one, at its share of the batch, and on top of it
- the gathers of BatchNorm, each of which everything waits for;
- what of the gradients' sums the backward pass does not hide. It hides those that run while it goes
  on, but the views pass one after the other, so a gradient is whole only in the last view's part;
  and the last bucket has nothing left to hide behind;
- the wait for the slowest (`stragglers`).
What loads pictures, cores and disks, works beside the steps and limits where it gives fewer.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .collectives import Cluster, all_reduce_s, gather_s, gathered_bytes, ring_bytes
from .exchange import Exchange
from .stragglers import straggling

Statistics = Literal["all", "host", "own"]
"""Whose rows a BatchNorm takes: of all GPUs, of those of a host, or of each its own."""

GOOD = 0.9
"""The efficiency from which on nothing is said to limit."""
_BUCKET = 25 * 2**20  # bytes, of DistributedDataParallel
_PICTURES = 1_281_167  # of ImageNet's training set
_EPOCHS = 100
_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of one GPU and one core, and of what several would exchange."""

    images_per_s: float
    """Of a step on a cached batch."""
    batch_size: int
    """In that step; of each GPU."""
    floor_s: float
    """No step is shorter, however small its batch: its work must be launched."""
    core_ms_per_image: float
    """Of the loader."""
    picture_bytes: float
    """On disk, on average."""
    exchange: Exchange
    statistics: Statistics = "all"
    ranked: float = 0.0
    """What the arithmetic of a BatchNorm that can be shared adds to a step, as a share of it."""
    hidden: float = 1 / 3
    """Share of a step behind which sums of gradients run."""
    noise: float = 0.0
    """Standard deviation of a process's step, over its mean."""
    lasting: float = 1.0
    """See `stragglers.straggling`."""
    cores_per_gpu: float = 1.0
    """That launch the GPU's work and load nothing."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Of N GPUs in one run."""

    num_gpus: int
    num_hosts: int
    batch_per_gpu: int
    compute_s: float
    """Of a step, by one GPU at its share."""
    gathers_s: float
    sums_s: float
    """Of gradients, in all."""
    exposed_s: float
    """Of these, what is not hidden."""
    straggling: float
    """Times."""
    wanted_images_per_s: float
    """By the GPUs."""
    images_per_s: float
    """That they get."""
    efficiency: float
    """Against N times one GPU at its full batch."""
    cores: float
    """So that the GPUs get what they want."""
    disk_bytes_per_s: float
    """Likewise, all hosts together, nothing held in memory."""
    sent_bytes: float
    """By a GPU in a step, to others of its host and beyond."""
    network_bytes_per_s: float
    """Sent by a host to others, on average."""
    hours: float
    """Of 100 epochs of ImageNet, evaluation left out."""
    cost: float
    """GPU-hours over those of one GPU."""
    limit: str
    """What most of the rest is lost to; nothing: hardly anything is lost."""

    @property
    def global_batch(self) -> int:
        """Pictures in a step."""
        return self.batch_per_gpu * self.num_gpus

    @property
    def step_s(self) -> float:
        """Fed as the GPUs want."""
        return self.global_batch / self.wanted_images_per_s


def foresee(
    measured: Measured, cluster: Cluster, num_gpus: int, *, max_batch: int | None = None
) -> Forecast:
    """What N GPUs do.

    Args:
        measured: of one.
        cluster: that they stand in.
        num_gpus: N.
        max_batch: of all together; beyond it each GPU's share shrinks. None: it stays.
    """
    share = measured.batch_size
    if max_batch is not None:
        share = max(min(share, max_batch // num_gpus), 1)
    step = _take_step(measured, cluster, num_gpus, share=share)
    wanted = num_gpus * share / step.total_s
    hosts, local = cluster.num_hosts(num_gpus), cluster.num_local(num_gpus)
    loading_cores = hosts * (cluster.cores_per_host - local * measured.cores_per_gpu)
    by_cores = 1000 * max(loading_cores, 0.0) / measured.core_ms_per_image
    by_disk = hosts * cluster.disk_bytes_per_s / measured.picture_bytes
    rate = min(wanted, by_cores, by_disk)
    losses = {
        "launching": step.plain_s - share / measured.images_per_s,
        "BatchNorm's arithmetic": step.compute_s - step.plain_s,
        "stragglers": step.compute_s * (step.slowest - 1),
        "BatchNorm's gathers": step.gathers_s,
        "network": step.exposed_s,
        "cores": _idle_s(by_cores, wanted, step.total_s),
        "disk": _idle_s(by_disk, wanted, step.total_s),
    }
    efficiency = rate / (num_gpus * measured.images_per_s)
    sharers, exchange = _count_sharers(measured, cluster, num_gpus), measured.exchange
    beyond = ring_bytes(hosts, exchange.gradient_bytes)
    beyond += max(sharers - local, 0) * exchange.gathered_bytes
    return Forecast(
        num_gpus=num_gpus,
        num_hosts=hosts,
        batch_per_gpu=share,
        compute_s=step.compute_s,
        gathers_s=step.gathers_s,
        sums_s=step.sums_s,
        exposed_s=step.exposed_s,
        straggling=step.slowest,
        wanted_images_per_s=wanted,
        images_per_s=rate,
        efficiency=efficiency,
        cores=wanted * measured.core_ms_per_image / 1000 + num_gpus * measured.cores_per_gpu,
        disk_bytes_per_s=wanted * measured.picture_bytes,
        sent_bytes=ring_bytes(num_gpus, exchange.gradient_bytes)
        + gathered_bytes(sharers, exchange.gathered_bytes),
        network_bytes_per_s=beyond / step.total_s,
        hours=_PICTURES * _EPOCHS / rate / _HOUR if rate else math.inf,
        cost=1 / efficiency if efficiency else math.inf,
        limit=max(losses, key=lambda name: losses[name]) if efficiency < GOOD else "nothing",
    )


class _Step(NamedTuple):
    """Its parts, seconds; see `Forecast`."""

    plain_s: float
    """Alone, with nn.BatchNorm."""
    compute_s: float
    gathers_s: float
    sums_s: float
    exposed_s: float
    slowest: float

    @property
    def total_s(self) -> float:
        return self.compute_s * self.slowest + self.gathers_s + self.exposed_s


def _take_step(measured: Measured, cluster: Cluster, num_gpus: int, *, share: int) -> _Step:
    sharers = _count_sharers(measured, cluster, num_gpus)
    plain_s = max(share / measured.images_per_s, measured.floor_s)
    compute_s = plain_s * (1 + measured.ranked * (sharers > 1))
    sums_s, last_s = _sums_s(cluster, num_gpus, measured.exchange.gradient_bytes)
    # All wait for each other once a step, those that share statistics at each gather.
    slowest = max(
        straggling(count, measured.noise, lasting=measured.lasting, num_waits=waits)
        for count, waits in ((num_gpus, 1), (sharers, measured.exchange.num_gathers + 1))
    )
    return _Step(
        plain_s=plain_s,
        compute_s=compute_s,
        gathers_s=_gathers_s(cluster, sharers, measured.exchange),
        sums_s=sums_s,
        exposed_s=max(sums_s - measured.hidden * compute_s, last_s),
        slowest=slowest,
    )


def _count_sharers(measured: Measured, cluster: Cluster, num_gpus: int) -> int:
    """GPUs that a BatchNorm's statistics are taken over."""
    counts = {"all": num_gpus, "host": cluster.num_local(num_gpus), "own": 1}
    return counts[measured.statistics]


def find_most(measured: Measured, cluster: Cluster, *, max_batch: int) -> int:
    """The most GPUs, of powers of two, that a run within `max_batch` uses well; 1 always does."""
    most = 1
    while 2 * most <= max_batch:
        if foresee(measured, cluster, 2 * most, max_batch=max_batch).efficiency < GOOD:
            break
        most *= 2
    return most


def _gathers_s(cluster: Cluster, num_gpus: int, exchange: Exchange) -> float:
    """All alike: the bytes of the layers are added up, the latencies too."""
    if not exchange.num_gathers:
        return 0.0
    mean = exchange.gathered_bytes / exchange.num_gathers
    return exchange.num_gathers * gather_s(cluster, num_gpus, mean)


def _sums_s(cluster: Cluster, num_gpus: int, num_bytes: float) -> tuple[float, float]:
    """Of all buckets, and of the last one."""
    buckets = math.ceil(num_bytes / _BUCKET)
    each = all_reduce_s(cluster, num_gpus, num_bytes / buckets)
    return buckets * each, each


def _idle_s(supply: float, wanted: float, step_s: float) -> float:
    """That a step waits for pictures."""
    return max(wanted / supply - 1, 0.0) * step_s if supply else math.inf
