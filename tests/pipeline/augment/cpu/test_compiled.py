"""Disk cache, other compiled code, other processors, and reads beyond the end of a picture."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numba import njit
from swiftsiam.pipeline.augment.cpu import ViewKernel, augment_view, make_constants, make_scratch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs

pytestmark = pytest.mark.slow

# Pictures that end where a page begins that must not be touched.
GUARDED = """
    import ctypes, mmap
    import numpy as np
    from numba.core import event
    from swiftsiam.pipeline.augment.cpu import augment_view, make_constants, make_scratch
    from swiftsiam.pipeline.augment.sampler import PARAMS
    from swiftsiam.pipeline.augment.spec import Normalize

    length = 64 * mmap.PAGESIZE
    buffer = np.frombuffer(mmap.mmap(-1, length + mmap.PAGESIZE), np.uint8)
    guard = ctypes.c_void_p(buffer.ctypes.data + length)
    assert ctypes.CDLL(None).mprotect(guard, mmap.PAGESIZE, 0) == 0
    rng = np.random.default_rng(0)
    buffer[:length] = rng.integers(0, 256, length, np.uint8)
    scratch, constants = make_scratch(size=40), make_constants(Normalize())
    out, checksum = np.zeros((1, 40, 40, 3), np.float32), 0.0
    with event.install_recorder("numba:compile") as compiled:
        for _ in range(300):
            height, width = rng.integers(1, 150, 2)
            image = buffer[length - height * width * 3 : length].reshape(height, width, 3)
            params = np.zeros(1, PARAMS)
            params["top"], params["left"] = rng.integers(0, (height, width))
            params["height"] = height - params["top"]
            params["width"] = width - params["left"]
            params["resized_height"] = params["resized_width"] = 40
            params["jitter"], params["jitter_order"] = 1, rng.permutation(4)
            params["jitter_factor"] = *rng.uniform(0.6, 1.4, 3), rng.uniform(-0.1, 0.1)
            params["blur_sigma"] = rng.uniform(0, 2)
            assert augment_view(image, params, 0, scratch, constants, out)
            checksum += np.abs(out).sum(dtype=np.float64)
    print(len(compiled.buffer), augment_view.stats.cache_misses.total(), checksum)
"""


def run_guarded(**environment: str) -> tuple[int, int, float]:
    """(functions compiled, misses of the disk cache, checksum) of a process of its own."""
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GUARDED)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    compiled, misses, checksum = process.stdout.split()
    return int(compiled), int(misses), float(checksum)


def test_second_start_compiles_nothing_and_reads_nothing_beyond(make_picture, make_params, run):
    image = make_picture(20, 20)
    run(image, make_params(image, 40), 40)  # compiled and on disk at the latest here
    assert run_guarded()[:2] == (0, 0)


@pytest.mark.slow
def test_other_processors_give_the_same_views():
    baseline = run_guarded(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert baseline[2] == pytest.approx(run_guarded()[2], rel=1e-6)


def test_callable_from_compiled_code(make_picture, draw_for):
    @njit(nogil=True)
    def loop(image, params, scratch, constants, out):
        done = 0
        for row in range(out.shape[0]):
            done += augment_view(image, params, row, scratch, constants, out)
        return done

    spec, _ = build_train_specs(AugmentConfig(size=24))
    image = make_picture(50, 60)
    params = draw_for(spec, [image] * 5)
    outs = np.zeros((2, 5, 24, 24, 3), np.float32)
    constants = make_constants(spec.normalize)
    assert loop(image, params, make_scratch(size=24), constants, outs[0]) == 5
    ViewKernel(spec).augment([image] * 5, params, outs[1])
    assert (outs[0] == outs[1]).all()


def test_wrong_arrays_are_refused(make_picture, make_params, plain_constants):
    image = make_picture(50, 60)
    params, scratch = make_params(image, 24), make_scratch(size=24)
    good = np.zeros((1, 24, 24, 3), np.float32)
    for picture, out in (
        (image[:, ::2], good),
        (image.astype(np.uint16), good),
        (image, good.astype(np.float64)),
        (image, np.zeros((1, 3, 24, 24), np.float32).transpose(0, 2, 3, 1)),
    ):
        with pytest.raises(Exception, match="array"):
            augment_view(picture, params, 0, scratch, plain_constants, out)
