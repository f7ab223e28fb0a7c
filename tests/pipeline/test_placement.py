"""Where the views are finished: what is asked for, and what follows from machine and pictures."""

from collections.abc import Callable

import numpy as np
import pytest
from swiftsiam.pipeline.config import LoaderConfig
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.placement import (
    Machine,
    Placement,
    choose_placement,
    estimate_decoded_bytes,
)
from swiftsiam.pipeline.sources import Source

CPU = Machine("cpu")
GPU = Machine("cuda", has_kernel=True, cores_per_gpu=8.0, gpu_bytes=10**9)
OLD_GPU = GPU._replace(has_kernel=False)
NO_ROOM = GPU._replace(gpu_bytes=1000)

Choose = Callable[..., Placement]


@pytest.fixture
def choose(source: Source) -> Choose:
    """23 pictures of some 10 kB each, decoded."""

    def choose(
        machine: Machine,
        *,
        asked: str = "auto",
        resident: str = "off",
        engine: str = "ffcv",
        ops: str = "kernel",
    ) -> Placement:
        return choose_placement(
            LoaderConfig(device=asked, resident=resident),  # type: ignore[arg-type]
            source=source,
            engine=engine,
            ops=ops,
            machine=machine,
        )

    return choose


def test_on_a_cpu_everything_is_made_there(choose: Choose) -> None:
    assert choose(CPU) == ("cpu", "the step runs on the CPU", False)
    assert choose(CPU, resident="auto").name == "cpu"
    assert choose(CPU, asked="cpu").why == "asked for by loader.device"
    with pytest.raises(UserError, match=r"loader.device=gpu: the step runs on the CPU"):
        choose(CPU, asked="gpu")
    with pytest.raises(UserError, match=r"loader.resident=on: the step runs on the CPU"):
        choose(CPU, resident="on")


def test_what_is_asked_for_is_taken(choose: Choose) -> None:
    assert choose(GPU, asked="gpu") == ("gpu", "asked for by loader.device", False)
    assert choose(GPU, asked="cpu").name == "cpu"
    assert choose(GPU, asked="cpu", resident="auto").name == "cpu"
    told = choose(OLD_GPU, asked="gpu")
    assert told.name == "gpu"
    assert "plain torch" in told.why
    with pytest.raises(UserError, match=r"loader.device=gpu: augment.ops=oracle"):
        choose(GPU, asked="gpu", ops="oracle")
    with pytest.raises(UserError, match=r"loader.resident=on: loader.device=cpu makes the views"):
        choose(GPU, asked="cpu", resident="on")
    with pytest.raises(UserError, match=r"loader.resident=on: loader.engine=synthetic reads no"):
        choose(GPU, resident="on", engine="synthetic")


def test_what_a_gpu_cannot_do_stays_on_the_cpu(choose: Choose) -> None:
    for resident in ("auto", "off"):
        assert choose(OLD_GPU, resident=resident).name == "cpu"
        assert choose(GPU, ops="oracle", resident=resident).name == "cpu"
        assert choose(GPU, engine="synthetic", resident=resident).name == "cpu"


def test_by_the_cores_of_each_gpu(choose: Choose) -> None:
    few, many = GPU._replace(cores_per_gpu=4.0), GPU._replace(cores_per_gpu=64.0)
    assert choose(few).name == "gpu"
    assert "4 cores a GPU make about 3,478 images/s" in choose(few).why
    assert choose(many).name == "cpu"
    assert "more than twice" in choose(many).why
    assert choose(many, engine="dali").name == "gpu"  # which decodes there
    for machine in (few, many, CPU, OLD_GPU):
        assert choose(machine).why


def test_small_sets_lie_on_the_gpu(choose: Choose) -> None:
    many = GPU._replace(cores_per_gpu=64.0)
    for machine in (GPU, many):
        placement = choose(machine, resident="auto")
        assert placement.name == "gpu"
        assert placement.is_resident
        assert "0.00 GB of decoded pictures, of the GPU's 1" in placement.why
    assert not choose(NO_ROOM, resident="auto").is_resident
    assert not choose(GPU, resident="off").is_resident
    assert choose(OLD_GPU, resident="on").is_resident  # in plain torch
    with pytest.raises(UserError, match=r"loader.resident=on: .* of decoded pictures"):
        choose(NO_ROOM, resident="on")


def test_pictures_take_twice_their_memory_while_they_are_put_together(
    choose: Choose, source: Source
) -> None:
    needed = estimate_decoded_bytes(source)
    assert choose(GPU._replace(gpu_bytes=3 * needed), resident="on").is_resident
    with pytest.raises(UserError, match=r"at most 40% fit, set loader.resident=off"):
        choose(GPU._replace(gpu_bytes=2 * needed), resident="on")


def test_what_a_resumed_run_was_begun_with_can_be_unset(choose: Choose) -> None:
    """Its configuration says gpu and on, which nobody has asked for."""
    with pytest.raises(UserError, match=r"set loader.device=auto loader.resident=auto"):
        choose(CPU, asked="gpu", resident="on")
    assert choose(CPU, asked="auto", resident="auto").name == "cpu"


def test_the_estimate_is_of_all_pictures(
    listed: Callable[..., Source], encode: Callable[..., bytes]
) -> None:
    picture = encode(np.zeros((10, 20, 3), np.uint8), "PNG")
    assert estimate_decoded_bytes(listed(*[picture] * 100)) == 100 * 600
    unreadable = BadSampleError("gone")
    assert estimate_decoded_bytes(listed(picture, unreadable)) == 600
    assert estimate_decoded_bytes(listed(unreadable)) == 0
