"""Where the views are finished: what is asked for, and what follows from the machine."""

import pytest
from swiftsiam.pipeline.config import LoaderConfig
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.placement import Machine, Placement, choose_placement

CPU = Machine("cpu", has_kernel=False, cores_per_gpu=0.0)
GPU = Machine("cuda", has_kernel=True, cores_per_gpu=8.0)
OLD_GPU = GPU._replace(has_kernel=False)


def choose(
    machine: Machine, *, asked: str = "auto", engine: str = "ffcv", ops: str = "kernel"
) -> Placement:
    config = LoaderConfig(device=asked)  # type: ignore[arg-type]
    return choose_placement(config, engine=engine, ops=ops, size=224, machine=machine)


def test_on_a_cpu_everything_is_made_there() -> None:
    assert choose(CPU).name == "cpu"
    assert choose(CPU, asked="cpu").why == "asked for by loader.device"
    with pytest.raises(UserError, match=r"loader.device=gpu: the step runs on the CPU"):
        choose(CPU, asked="gpu")


def test_what_is_asked_for_is_taken() -> None:
    assert choose(GPU, asked="gpu") == ("gpu", "asked for by loader.device")
    assert choose(GPU, asked="cpu").name == "cpu"
    told = choose(OLD_GPU, asked="gpu")
    assert told.name == "gpu"
    assert "plain torch" in told.why
    with pytest.raises(UserError, match=r"loader.device=gpu: augment.ops=oracle"):
        choose(GPU, asked="gpu", ops="oracle")


def test_what_a_gpu_cannot_do_stays_on_the_cpu() -> None:
    assert choose(OLD_GPU).name == "cpu"
    assert choose(GPU, ops="oracle").name == "cpu"
    assert choose(GPU, engine="synthetic").name == "cpu"


def test_by_the_cores_of_each_gpu() -> None:
    few, many = GPU._replace(cores_per_gpu=4.0), GPU._replace(cores_per_gpu=64.0)
    assert choose(few).name == "gpu"
    assert "4 cores a GPU make about 3,478 images/s" in choose(few).why
    assert choose(many).name == "cpu"
    assert "more than twice" in choose(many).why
    assert choose(many, engine="dali").name == "gpu"  # which decodes there
    for machine in (few, many, CPU, OLD_GPU):
        assert choose(machine).why
