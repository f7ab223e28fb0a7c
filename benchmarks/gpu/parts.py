"""The parts of `bench gpu`, in their order: what is right first, then what is fast."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of its own."""

    module: str
    """Has a function of the part's name: (context) -> records, one by one."""
    limit_s: int
    what: str


PARTS: dict[str, Part] = {
    "environment": Part(module="environment", limit_s=60, what="versions, driver, compiler, cores"),
    "tests": Part(module="environment", limit_s=180, what="the tests that need a GPU"),
    "kernels": Part(module="kernels", limit_s=150, what="views and crops against plain torch"),
    "transfers": Part(module="transfers", limit_s=60, what="ceilings: copies, products"),
    "delivery": Part(module="delivery", limit_s=150, what="pinned memory, waits, equal views"),
    "decoding": Part(module="decoding", limit_s=90, what="DALI's decoder against libjpeg-turbo"),
    "optimizer": Part(module="steps", limit_s=60, what="a skipped first step, in fp32 and fp16"),
    "memory": Part(module="steps", limit_s=60, what="of a step, for each picture"),
    "kernel_times": Part(module="kernels", limit_s=60, what="how long views and crops take"),
    "end_to_end": Part(module="loaders", limit_s=200, what="the step with each loader running"),
    "resident_times": Part(module="loaders", limit_s=60, what="CIFAR's shape, on the GPU"),
    "loader_times": Part(module="loaders", limit_s=240, what="engines, threads, decoder's load"),
    "step": Part(module="jobs", limit_s=200, what="lanes of the step, below the card's roof"),
    "train": Part(module="jobs", limit_s=150, what="a job in parts and whole, what limits it"),
    "evaluation": Part(module="evaluation", limit_s=120, what="features, sweep and kNN"),
    "methods": Part(
        module="methods", limit_s=300, what="SimSiam's relatives, compiled and captured"
    ),
    "tune": Part(module="jobs", limit_s=300, what="settings of the loader that are faster here"),
    "step_times": Part(
        module="steps", limit_s=200, what="precisions, graphs and compiling, on a cached batch"
    ),
}
"""By name. Should all of them take as long as they may, the last one is cut."""
