"""How long processes take to exchange something: latency and bandwidth of each link, no more.

Rings, since gathers know nothing else where a host has several GPUs: of N processes each sends to
the next one, N - 1 times; a part goes over the network where it enters a host and over the hosts'
own links elsewhere. Sums go ring by ring: within each host, then between hosts, where a tree has
fewer steps and as many bytes. A link carries as much both ways at once, and nobody else uses it.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Link:
    """One way."""

    bytes_per_s: float
    latency_s: float
    """Of a step from one process to the next."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Hosts that are all alike, and nobody else's."""

    gpus_per_host: int
    cores_per_host: int
    link: Link
    """Of each GPU to the others of its host."""
    network: Link
    """Of a host, all of its cards together."""
    disk_bytes_per_s: float
    """That a host reads, of its own disks or its share of a store."""
    start_s: float
    """What a collective takes however small it is and however few take part."""

    def num_hosts(self, num_gpus: int) -> int:
        """That hold so many GPUs; the last may have some idle."""
        return math.ceil(num_gpus / self.gpus_per_host)

    def num_local(self, num_gpus: int) -> int:
        """Of them on one host."""
        return min(num_gpus, self.gpus_per_host)


def gather_s(cluster: Cluster, num_gpus: int, num_bytes: float) -> float:
    """Seconds until each GPU has the `num_bytes` of every other."""
    if num_gpus == 1:
        return 0.0
    hosts, local = cluster.num_hosts(num_gpus), cluster.num_local(num_gpus)
    crossings = min(hosts, num_gpus - 1) if hosts > 1 else 0
    latency = crossings * cluster.network.latency_s
    latency += (num_gpus - 1 - crossings) * cluster.link.latency_s
    over_link = gathered_bytes(num_gpus, num_bytes) / cluster.link.bytes_per_s if local > 1 else 0.0
    over_network = (num_gpus - local) * num_bytes / cluster.network.bytes_per_s
    return cluster.start_s + latency + max(over_link, over_network)


def all_reduce_s(cluster: Cluster, num_gpus: int, num_bytes: float) -> float:
    """Seconds until each GPU has the sum of all GPUs' `num_bytes`."""
    if num_gpus == 1:
        return 0.0
    hosts, local = cluster.num_hosts(num_gpus), cluster.num_local(num_gpus)
    # The GPUs of a host share its network: each sends the part that it has summed.
    within = _ring_s(cluster.link, local, num_bytes, num_steps=local - 1)
    steps = min(hosts - 1, math.ceil(math.log2(hosts)))
    return cluster.start_s + within + _ring_s(cluster.network, hosts, num_bytes, num_steps=steps)


def _ring_s(link: Link, count: int, num_bytes: float, *, num_steps: int) -> float:
    """Twice around: sums, then what has been summed."""
    return ring_bytes(count, num_bytes) / link.bytes_per_s + 2 * num_steps * link.latency_s


def ring_bytes(count: int, num_bytes: float) -> float:
    """That each of so many sends for a sum."""
    return 2 * (count - 1) / count * num_bytes


def gathered_bytes(count: int, num_bytes: float) -> float:
    """That each of so many sends where all give as much to all."""
    return (count - 1) * num_bytes
