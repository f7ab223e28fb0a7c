"""Where colours, blur and flip are made: on the CPU with the crop, or on the GPU of the step."""

from typing import Literal, NamedTuple

from .config import LoaderConfig
from .engines import ENGINES
from .errors import UserError
from .machine import num_cores

# Core-ms an image of 224 px, ImageNet JPEGs decoded and both views made (results/): whole, or left
# to the GPU behind the crop. Decoding is most of either.
_WHOLE_MS, _CROPS_MS = 1.15, 1.0
# Images/s that the fastest card known would take in a step of ResNet-50 if nothing but its memory
# were in the way (facts.md), of 224 px. A loader twice as fast has nothing to gain.
_FASTEST_STEP = 7000
_SIZE = 224


class Placement(NamedTuple):
    """Where, and why."""

    name: Literal["cpu", "gpu"]
    why: str


class Machine(NamedTuple):
    """What is known of the machine."""

    device: str
    """cpu or cuda: where the step runs."""
    has_kernel: bool
    """Whether the GPU kernel runs there."""
    cores_per_gpu: float

    @classmethod
    def look(cls, device: str) -> "Machine":
        """This one."""
        if device != "cuda":
            return cls(device, has_kernel=False, cores_per_gpu=0.0)
        import torch

        from .augment.gpu import runs_triton

        current = torch.device("cuda", torch.cuda.current_device())
        return cls(device, runs_triton(current), num_cores() / torch.cuda.device_count())


def choose_placement(
    config: LoaderConfig, *, engine: str, ops: str, size: int, machine: Machine
) -> Placement:
    """Where the views of training are finished. Evaluation and the oracle never leave the CPU.

    Args:
        config: of the loader.
        engine: chosen before.
        ops: of the augmentation.
        size: side of the views, px.
        machine: of `Machine.look`.

    Raises:
        UserError: the GPU is asked for, and there is none, or the oracle is.
    """
    asked = config.device
    if asked == "cpu":
        return Placement("cpu", "asked for by loader.device")
    if asked == "gpu" and machine.device == "cpu":
        raise UserError("loader.device=gpu: the step runs on the CPU; use loader.device=cpu")
    if asked == "gpu" and ops == "oracle":
        raise UserError("loader.device=gpu: augment.ops=oracle is made on the CPU; leave one out")
    if asked == "gpu":
        how = "" if machine.has_kernel else ", in plain torch: Triton does not serve this GPU"
        return Placement("gpu", f"asked for by loader.device{how}")
    if machine.device == "cpu":
        return Placement("cpu", "the step runs there")
    if ops == "oracle":
        return Placement("cpu", "augment.ops=oracle is made there")
    if not ENGINES[engine].reads_pictures:
        return Placement("cpu", f"the {engine} engine makes none")
    if not machine.has_kernel:
        return Placement("cpu", "Triton, or this GPU, does not run the kernel")
    if engine == "dali":
        return Placement("gpu", "DALI decodes there, and its crops stay there")
    return _weigh(machine.cores_per_gpu, size)


def _weigh(cores: float, size: int) -> Placement:
    """By the cores that are there for each GPU."""
    # Smaller pictures cost both sides less, in proportion to their pixels.
    share = (size / _SIZE) ** 2
    whole, crops = (1000 * cores / (cost * share) for cost in (_WHOLE_MS, _CROPS_MS))
    fastest = _FASTEST_STEP / share
    told = f"{cores:g} cores a GPU make about {whole:,.0f} images/s (JPEGs, {size} px)"
    if whole >= 2 * fastest:
        return Placement("cpu", f"{told}, more than twice what any card takes")
    return Placement("gpu", f"{told}, {crops:,.0f} where the GPU finishes the crops")
