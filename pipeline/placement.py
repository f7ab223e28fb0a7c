"""Where views are finished: on the CPU with the crop, or on the GPU of the step; and whether the
pictures themselves lie there.
"""

from typing import Literal, NamedTuple

import numpy as np

from .config import LoaderConfig
from .decode import decode_rgb
from .engines import ENGINES
from .errors import BadSampleError, UserError
from .machine import num_cores
from .sources import Source

# Core-ms an image of 224 px, ImageNet JPEGs decoded and both views made: whole (facts.md), or left
# to the GPU behind the crop, 0.86 of it (2.56 against 2.99, interleaved, n = 5, on a slower machine
# that had other work). Decoding is most of either.
_WHOLE_MS, _CROPS_MS = 1.15, 1.0
# Images/s that the fastest card known would take in a step of ResNet-50 if nothing but its memory
# were in the way (facts.md), of 224 px. A loader twice as fast has nothing to gain.
_FASTEST_STEP = 7000
_RESIDENT_SHARE = 0.1  # of the GPU's memory, for pictures that nobody has asked to lie there
_MOST_RESIDENT_SHARE = 0.4  # twice as much while they are put together
_NUM_SAMPLED = 32
_NO_TRITON = "Triton does not run here: an older GPU, or no gcc with Python.h (python3-dev)"


class Placement(NamedTuple):
    """Where, and why."""

    name: Literal["cpu", "gpu"]
    why: str
    is_resident: bool = False
    """Whether the pictures lie on the GPU as well."""


class Machine(NamedTuple):
    """What is known of the machine."""

    device: str
    """cpu or cuda: where the step runs."""
    has_kernel: bool = False
    """Whether the GPU kernels run there."""
    cores_per_gpu: float = 0.0
    gpu_bytes: int = 0
    """All of a GPU's memory."""

    @classmethod
    def look(cls, device: str) -> "Machine":
        """This one."""
        if device != "cuda":
            return cls(device)
        import torch

        from .augment.gpu import runs_triton

        current = torch.device("cuda", torch.cuda.current_device())
        return cls(
            device,
            has_kernel=runs_triton(current),
            cores_per_gpu=num_cores() / torch.cuda.device_count(),
            gpu_bytes=torch.cuda.get_device_properties(current).total_memory,
        )


def choose_placement(
    config: LoaderConfig, *, source: Source, engine: str, ops: str, machine: Machine
) -> Placement:
    """Where the views of training are finished. Evaluation and the oracle never leave the CPU.

    Args:
        config: of the loader.
        source: to be trained on.
        engine: chosen before.
        ops: of the augmentation.
        machine: of `Machine.look`.

    Raises:
        UserError: the GPU is asked for what it cannot do.
    """
    asked = "loader.resident=on" if config.resident == "on" else "loader.device=gpu"
    is_asked = config.resident == "on" or config.device == "gpu"
    obstacle = _find_obstacle(config, engine=engine, ops=ops, machine=machine)
    if is_asked and obstacle:
        raise UserError(f"{asked}: {obstacle}; set loader.device=auto loader.resident=auto")
    if config.device == "cpu":
        return Placement("cpu", "asked for by loader.device")
    if obstacle:
        return Placement("cpu", obstacle)
    if config.resident == "on" or (config.resident == "auto" and machine.has_kernel):
        resident = _choose_resident(config, source, machine)
        if resident is not None:
            return resident
    if config.device == "gpu":
        how = "" if machine.has_kernel else f", in plain torch: {_NO_TRITON}"
        return Placement("gpu", f"asked for by loader.device{how}")
    if not machine.has_kernel:
        return Placement("cpu", _NO_TRITON)
    if ENGINES[engine].gpu_trial:
        return Placement("gpu", f"the {engine} engine decodes there, and its crops stay there")
    return _weigh(machine.cores_per_gpu)


def _find_obstacle(config: LoaderConfig, *, engine: str, ops: str, machine: Machine) -> str:
    """Why no view can be made on a GPU, or nothing."""
    if machine.device == "cpu":
        return "the step runs on the CPU"
    if ops == "oracle":
        return "augment.ops=oracle is made on the CPU"
    if not ENGINES[engine].reads_pictures:
        return f"loader.engine={engine} reads no pictures"
    if config.resident == "on" and config.device == "cpu":
        return "loader.device=cpu makes the views on the CPU"
    return ""


def _choose_resident(config: LoaderConfig, source: Source, machine: Machine) -> Placement | None:
    """On the GPU, where the pictures fit as they are asked to."""
    needed = estimate_decoded_bytes(source)
    told = f"{needed / 1e9:,.2f} GB of decoded pictures, of the GPU's {machine.gpu_bytes / 1e9:.0f}"
    if config.resident == "on":
        if needed > _MOST_RESIDENT_SHARE * machine.gpu_bytes:
            most = f"at most {_MOST_RESIDENT_SHARE:.0%} fit"
            raise UserError(f"loader.resident=on: {told} GB; {most}, set loader.resident=off")
        return Placement("gpu", f"pictures lie there, asked for by loader.resident: {told}", True)
    if needed > _RESIDENT_SHARE * machine.gpu_bytes:
        return None
    return Placement("gpu", f"pictures lie there: {told}", True)


def estimate_decoded_bytes(source: Source) -> int:
    """All pictures as uint8, by a sample of them; what cannot be read takes nothing."""
    places = np.linspace(0, len(source) - 1, min(_NUM_SAMPLED, len(source))).astype(np.int64)
    total = 0
    for index in places.tolist():
        try:
            total += decode_rgb(source.read(index)).size
        except BadSampleError:
            continue
    return total * len(source) // max(len(places), 1)


def _weigh(cores: float) -> Placement:
    """By the cores that are there for each GPU."""
    whole, crops = (1000 * cores / cost for cost in (_WHOLE_MS, _CROPS_MS))
    told = f"{cores:g} cores a GPU make about {whole:,.0f} images/s of ImageNet's size"
    if whole >= 2 * _FASTEST_STEP:
        return Placement("cpu", f"{told}, more than twice what any card takes")
    return Placement("gpu", f"{told}, {crops:,.0f} where the GPU finishes the crops")
