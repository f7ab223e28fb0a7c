"""The CPU kernel against the float64 oracle, Pillow, and the bounds of its memory."""

import itertools
import os
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from numba import njit
from PIL import Image
from swiftsiam.pipeline.augment import reference
from swiftsiam.pipeline.augment.cpu import (
    Scratch,
    ViewKernel,
    as_pixels,
    augment_view,
    make_constants,
    make_scratch,
)
from swiftsiam.pipeline.augment.cpu.compiling import source_digest
from swiftsiam.pipeline.augment.cpu.resize import find_taps
from swiftsiam.pipeline.augment.sampler import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    PARAMS,
    SATURATION,
    draw_views,
    pack_spec,
)
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    ColorJitter,
    GaussianBlur,
    Normalize,
    RandomResizedCrop,
    build_eval_spec,
    build_train_specs,
)
from swiftsiam.pipeline.errors import UserError

# Normalised so, a float32 view is the picture in [0, 1].
PLAIN = make_constants(Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
NEUTRAL = {BRIGHTNESS: 1.0, CONTRAST: 1.0, SATURATION: 1.0, HUE: 0.0}


def make_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Gradients, waves, saturated rectangles with hard edges, and noise: (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    frequency, phase = rng.uniform(2, 30, (2, 3, 1, 1)), rng.uniform(0, 6, (3, 1, 1))
    waves = 128 + 90 * np.sin(frequency[0] * x + frequency[1] * y + phase)
    pixels = waves + rng.normal(0, 12, (3, height, width))
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        bottom, right = rng.integers(top, height) + 1, rng.integers(left, width) + 1
        pixels[:, top:bottom, left:right] = rng.integers(0, 256, (3, 1, 1))
    return np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def make_params(image: np.ndarray, size: int, **fields) -> np.ndarray:
    """One record: the whole picture, nothing else, but for `fields`."""
    params = np.zeros(1, PARAMS)
    params["height"], params["width"] = image.shape[:2]
    params["resized_height"] = params["resized_width"] = size
    params["jitter_order"] = range(4)
    params["jitter_factor"] = list(NEUTRAL.values())
    for name, value in fields.items():
        params[name] = value
    return params


def make_jitter(image: np.ndarray, size: int, factors: dict, order=range(4)) -> np.ndarray:
    values = [{**NEUTRAL, **factors}[op] for op in range(4)]
    return make_params(image, size, jitter=1, jitter_factor=values, jitter_order=list(order))


def draw(spec: AugmentSpec, images: list[np.ndarray], seed: int = 0) -> np.ndarray:
    return draw_views(
        pack_spec(spec),
        seed=seed,
        epoch=0,
        indices=np.arange(len(images)),
        view=0,
        heights=np.array([image.shape[0] for image in images]),
        widths=np.array([image.shape[1] for image in images]),
    )


def run(image: np.ndarray, params: np.ndarray, size: int, dtype=np.float32) -> np.ndarray:
    side = int(max(params["height"][0], params["width"][0]))
    out = np.full((1, size, size, 3), 77, dtype)
    scratch = make_scratch(size=size, max_side=side)
    assert augment_view(image, params, 0, scratch, PLAIN, out)
    return out[0]


def run_oracle(image: np.ndarray, params: np.ndarray, size: int) -> np.ndarray:
    return reference.augment(image, params[0], size=size).permute(1, 2, 0).numpy()


def error(image: np.ndarray, params: np.ndarray, size: int) -> float:
    """Mean absolute difference from the oracle, of 255."""
    return 255 * np.abs(run(image, params, size) - run_oracle(image, params, size)).mean()


@pytest.mark.parametrize(("preset", "size", "count"), [("imagenet", 224, 24), ("cifar", 32, 60)])
def test_whole_views(preset, size, count):
    spec, _ = build_train_specs(AugmentConfig(preset=preset, size=size))
    low, high = (150, 500) if preset == "imagenet" else (32, 33)
    sides = np.random.default_rng(1).integers(low, high, (count, 2))
    images = [make_picture(*side, seed) for seed, side in enumerate(sides)]
    params = draw(spec, images)
    assert {0, 1} == set(params["jitter"]) == set(params["grayscale"]) == set(params["flip"])
    errors = [error(image, params[i : i + 1], size) for i, image in enumerate(images)]
    assert np.mean(errors) < 0.04
    assert np.max(errors) < 0.1


def test_normalised():
    image = make_picture(60, 70)
    params = make_params(image, 33)
    normalize = Normalize()
    out = np.empty((1, 33, 33, 3), np.float32)
    assert augment_view(image, params, 0, make_scratch(size=33), make_constants(normalize), out)
    expected = (run_oracle(image, params, 33) - normalize.mean) / normalize.std
    assert np.abs(out[0] - expected).mean() < 0.05 / 255 / 0.225


@pytest.mark.parametrize("size", [8, 9, 15, 16, 31, 32, 33, 64, 96, 100, 224])
def test_sizes(size):
    for height, width in ((size, size), (47, 61), (300, 230)):
        image = make_picture(height, width)
        fields = {"jitter": 1, "jitter_factor": (1.3, 0.7, 1.2, 0.1), "flip": 1}
        params = make_params(image, size, blur_sigma=1.1, **fields)
        assert error(image, params, size) < 0.08


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 2), (1, 50), (50, 1), (3, 7), (20000, 10), (10, 20000), (1, 9000), (2000, 1500)],
)
@pytest.mark.parametrize("size", [8, 40])
def test_pictures_of_any_shape(height, width, size):
    image = make_picture(height, width)
    assert error(image, make_params(image, size), size) < 0.05
    assert error(image, make_params(image, size, flip=1, blur_sigma=1.0), size) < 0.05


def test_flat_pictures_stay_flat():
    for value, extent in itertools.product((0, 1, 128, 254, 255), (5, 64, 900, 4000)):
        image = np.full((extent, extent, 3), value, np.uint8)
        plain, blurred = (
            run(image, make_params(image, 32, blur_sigma=sigma), 32) for sigma in (0.0, 16.0)
        )
        assert np.abs(plain * 255 - value).max() < 0.05
        assert np.abs(blurred * 255 - value).max() < 0.15
        assert (run(image, make_params(image, 32), 32, np.uint8) == value).all()


def test_taps():
    find = njit(lambda *args: find_taps(*args))  # parts of the kernel have no wrapper for Python
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = int(rng.integers(8, 70))
        extent = int(np.exp(rng.uniform(0, 9)))
        resized = size + int(rng.choice([0, rng.integers(0, 4000)]))
        skip = int(rng.integers(0, resized - size + 1))
        scratch = make_scratch(size=size, max_side=extent)
        used = find(extent, resized, skip, 0, 0, scratch.taps, scratch.weights)
        assert used <= scratch.weights.size // 2
        start, count, first = scratch.taps[0].T
        assert (start >= start[0]).all()
        assert start[0] >= 0
        assert (start + count <= start[-1] + count[-1]).all()
        assert start[-1] + count[-1] <= extent
        for s, n, f in zip(start, count, first, strict=True):
            weights = scratch.weights[f : f + n].astype(np.int64)
            assert weights.sum() == (65535 if n == 1 else 65536), (extent, resized, s)
            assert weights[0] > 0
            assert weights[-1] > 0


def test_crops_match_pillow():
    image = make_picture(400, 500)
    spec = AugmentSpec(ops=(RandomResizedCrop(size=64), Normalize()))
    params = draw(spec, [image] * 40)
    errors = []
    for record in params:
        top, left, height, width = (int(record[k]) for k in ("top", "left", "height", "width"))
        box = (left, top, left + width, top + height)
        pillow = Image.fromarray(image).crop(box).resize((64, 64), Image.Resampling.BILINEAR)
        crop = run(image, record[None], 64, np.uint8)
        errors.append(np.abs(crop.astype(int) - np.asarray(pillow)).mean())
    assert np.mean(errors) < 0.3
    assert np.max(errors) < 0.5


@pytest.mark.parametrize("preset", ["imagenet", "cifar"])
def test_evaluation_views(preset):
    spec = build_eval_spec(AugmentConfig(preset=preset, size=64))
    shapes = ((200, 300), (300, 200), (64, 64), (50, 51), (3, 900), (900, 3))
    images = [make_picture(*shape) for shape in shapes]
    params = draw(spec, images)
    assert (params["offset_left"] > 0).any()
    for i, image in enumerate(images):
        assert error(image, params[i : i + 1], 64) < 0.05


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.6, 1.0, 1.001, 1.4, 1.8, 3.0, 7.5])
@pytest.mark.parametrize("op", [BRIGHTNESS, CONTRAST, SATURATION])
def test_factors(op, factor):
    image = make_picture(50, 50)
    params = make_jitter(image, 40, {op: factor})
    if factor != 1.0:
        neutral = run_oracle(image, make_params(image, 40), 40)
        assert np.abs(run_oracle(image, params, 40) - neutral).mean() > 1e-5
    assert error(image, params, 40) < 0.06


@pytest.mark.parametrize("turns", [-0.5, -0.31, -0.1, -0.01, 0.0, 0.05, 0.1, 0.25, 0.5])
def test_hue(turns):
    image = make_picture(50, 50)
    assert error(image, make_jitter(image, 40, {HUE: turns}), 40) < 0.08


def test_hue_of_all_corners():
    corners = np.array(list(itertools.product((0, 1, 127, 128, 254, 255), repeat=3)), np.uint8)
    image = np.resize(corners, (16, 16, 3))
    for turns in np.linspace(-0.5, 0.5, 21):
        params = make_jitter(image, 16, {HUE: turns})
        difference = np.abs(run(image, params, 16) - run_oracle(image, params, 16))
        assert 255 * difference.max() < 0.5


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_orders(order):
    image = make_picture(50, 50)
    factors = {BRIGHTNESS: 1.35, CONTRAST: 0.65, SATURATION: 1.4, HUE: 0.09}
    assert error(image, make_jitter(image, 40, factors, order), 40) < 0.08
    other = make_jitter(image, 40, factors, order[::-1])
    assert (
        np.abs(
            run(image, other, 40) - run_oracle(image, make_jitter(image, 40, factors, order), 40)
        ).mean()
        > 1e-3
    )


@pytest.mark.parametrize("jitter", [0, 1])
def test_grayscale(jitter):
    image = make_picture(50, 50)
    params = make_jitter(image, 40, {CONTRAST: 1.3, HUE: 0.1})
    params["grayscale"], params["jitter"] = 1, jitter
    view = run(image, params, 40)
    assert error(image, params, 40) < 0.06
    assert (view[..., 0] == view[..., 1]).all()
    assert (view[..., 0] == view[..., 2]).all()


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.35, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 11.0, 16.0])
@pytest.mark.parametrize("size", [8, 40])
def test_blur(sigma, size):
    image = make_picture(50, 50)
    params = make_params(image, size, blur_sigma=sigma)
    assert error(image, params, size) < 0.15


def test_flip_mirrors():
    image = make_picture(50, 60)
    fields = {"jitter": 1, "jitter_factor": (1.2, 0.8, 1.3, 0.1), "blur_sigma": 0.9}
    for size in (33, 64):
        view = run(image, make_params(image, size, **fields), size)
        flipped = run(image, make_params(image, size, flip=1, **fields), size)
        assert (flipped == view[:, ::-1]).all()


def test_bfloat16_is_float32_rounded():
    images = [make_picture(70, 90, seed) for seed in range(12)]
    spec, _ = build_train_specs(AugmentConfig(size=40))
    params = draw(spec, images)
    exact = torch.empty((12, 3, 40, 40)).to(memory_format=torch.channels_last)
    rounded = exact.to(torch.bfloat16)
    kernel = ViewKernel(spec)
    kernel.augment(images, params, as_pixels(exact))
    kernel.augment(images, params, as_pixels(rounded))
    assert torch.equal(exact.bfloat16().view(torch.int16), rounded.view(torch.int16))


def test_bytes_are_the_crop_alone():
    image = make_picture(90, 80)
    plain = {"top": 5, "left": 7, "height": 70, "width": 60, "flip": 1}
    params = make_params(image, 40, **plain)
    everything = make_params(
        image,
        40,
        jitter=1,
        jitter_factor=(1.4, 1.4, 1.4, 0.1),
        grayscale=1,
        blur_sigma=1.0,
        **plain,
    )
    crop = run(image, everything, 40, np.uint8)
    assert (crop == run(image, params, 40, np.uint8)).all()
    assert (np.abs(crop - 255 * run_oracle(image, params, 40)) < 0.6).all()


def test_threads_do_not_disturb_each_other():
    spec, _ = build_train_specs(AugmentConfig(size=48, blur_prob=1.0, jitter_prob=1.0))
    images = [make_picture(100 + 40 * (seed % 5), 90, seed) for seed in range(40)]
    params = draw(spec, images)
    kernel = ViewKernel(spec)
    outs = [np.zeros((40, 48, 48, 3), np.float32) for _ in range(3)]
    kernel.augment(images, params, outs[0])

    def work(out):
        for _ in range(20):
            kernel.augment(images, params, out)

    threads = [threading.Thread(target=work, args=(out,)) for out in outs[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outs[0] == outs[1]).all()
    assert (outs[0] == outs[2]).all()


def test_same_view_whatever_came_before():
    small, large = make_picture(30, 20), make_picture(700, 900)
    fields = {"jitter": 1, "jitter_factor": (1.2, 0.8, 1.3, 0.1), "blur_sigma": 1.2}
    scratch = make_scratch(size=33, max_side=900)
    views = []
    for image in (small, large, small):
        out = np.zeros((1, 33, 33, 3), np.float32)
        assert augment_view(image, make_params(image, 33, **fields), 0, scratch, PLAIN, out)
        views.append(out)
    assert (views[0] == views[2]).all()


WINDOWS = [
    (7, 5, 7, 5, 0, 0),
    (7, 11, 7, 11, 0, 0),
    (40, 50, 13, 17, 27, 33),
    (40, 50, 13, 3, 27, 47),
    (60, 200, 60, 43, 0, 157),
    (60, 200, 60, 150, 0, 50),
    (300, 20, 299, 20, 1, 0),
]


@pytest.mark.parametrize("shape", WINDOWS)
def test_nothing_outside_the_picture_matters(shape):
    height, width, window_height, window_width, top, left = shape
    pixels = make_picture(height, width)
    views = []
    for canary in (0, 255):
        buffer = np.full(height * width * 3 + 8192, canary, np.uint8)
        image = buffer[4096:-4096].reshape(height, width, 3)
        image[:] = pixels
        fields = {"top": top, "left": left, "height": window_height, "width": window_width}
        views.append(run(image, make_params(image, 24, blur_sigma=1.0, **fields), 24))
    assert (views[0] == views[1]).all()


def make_guarded_scratch(size: int, max_side: int) -> tuple[Scratch, list[tuple]]:
    """Scratch within larger buffers, and those buffers with the length of their margins."""
    guarded, buffers = {}, []
    for name, array in make_scratch(size=size, max_side=max_side)._asdict().items():
        if isinstance(array, np.ndarray):
            margin = 256
            buffer = np.full(array.size + 2 * margin, 21845, array.dtype)
            guarded[name] = buffer[margin:-margin].reshape(array.shape)
            buffers.append((name, buffer, margin))
        else:
            guarded[name] = array
    return Scratch(**guarded), buffers


@pytest.mark.parametrize("size", [8, 17, 32, 40, 100])
def test_nothing_outside_scratch_and_output_is_written(size):
    rng = np.random.default_rng(size)
    for _ in range(40):
        height, width = (int(np.exp(rng.uniform(0, 7))) for _ in range(2))
        image = make_picture(height, width)
        scratch, buffers = make_guarded_scratch(size, max(height, width))
        sigma = float(rng.choice([0, 0.5, 5, 16]))
        fields = {"jitter": 1, "blur_sigma": sigma, "flip": int(rng.integers(2))}
        params = np.repeat(make_params(image, size, **fields), 3)
        for dtype in (np.float32, np.uint16, np.uint8):
            out = np.full((3, size, size, 3), 99, dtype)
            assert augment_view(image, params, 1, scratch, PLAIN, out)
            assert (out[[0, 2]] == 99).all()
            assert not (out[1] == 99).all()
        for name, buffer, margin in buffers:
            assert (buffer[:margin] == 21845).all(), name
            assert (buffer[-margin:] == 21845).all(), name


@pytest.mark.parametrize(
    "fields",
    [
        {"top": -1},
        {"left": 1},
        {"height": 41},
        {"height": 0},
        {"width": -3},
        {"offset_top": 1},
        {"offset_left": -1},
        {"resized_width": 23},
    ],
)
def test_impossible_windows_are_refused(fields):
    image = make_picture(40, 30)
    spec = AugmentSpec(ops=(RandomResizedCrop(size=24), Normalize()))
    out = np.full((1, 24, 24, 3), 99, np.float32)
    with pytest.raises(ValueError, match="no such window"):
        ViewKernel(spec)(image, make_params(image, 24, **fields), 0, out)
    assert (out == 99).all()


def test_scratch_too_small_is_refused_and_grows():
    image = make_picture(1500, 20)
    params, out = make_params(image, 24), np.full((1, 24, 24, 3), 99, np.float32)
    assert not augment_view(image, params, 0, make_scratch(size=24, max_side=1499), PLAIN, out)
    assert not augment_view(image, params, 0, make_scratch(size=25, max_side=1500), PLAIN, out)
    assert (out == 99).all()
    kernel = ViewKernel(AugmentSpec(ops=(RandomResizedCrop(size=24), Normalize())))
    kernel = pickle.loads(pickle.dumps(kernel))
    kernel(image, params, 0, out)
    assert not (out == 99).any()


@pytest.mark.parametrize(
    "op", [GaussianBlur(sigma=(1.0, 16.5)), ColorJitter(brightness=254.5), ColorJitter(hue=0.6)]
)
def test_what_the_kernel_cannot_do_is_refused_when_built(op):
    with pytest.raises(UserError, match=type(op).__name__):
        ViewKernel(AugmentSpec(ops=(RandomResizedCrop(size=24), op, Normalize())))
    with pytest.raises(UserError, match="size 7"):
        ViewKernel(AugmentSpec(ops=(RandomResizedCrop(size=7), Normalize())))


def test_callable_from_compiled_code():
    @njit(nogil=True)
    def loop(image, params, scratch, constants, out):
        done = 0
        for row in range(out.shape[0]):
            done += augment_view(image, params, row, scratch, constants, out)
        return done

    spec, _ = build_train_specs(AugmentConfig(size=24))
    image = make_picture(50, 60)
    params = draw(spec, [image] * 5)
    outs = np.zeros((2, 5, 24, 24, 3), np.float32)
    constants = make_constants(spec.normalize)
    assert loop(image, params, make_scratch(size=24), constants, outs[0]) == 5
    ViewKernel(spec).augment([image] * 5, params, outs[1])
    assert (outs[0] == outs[1]).all()


def run_script(script: str, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


GUARDED = """
    import ctypes, mmap
    import numpy as np
    from numba.core import event
    from swiftsiam.pipeline.augment.cpu import augment_view, make_constants, make_scratch
    from swiftsiam.pipeline.augment.sampler import PARAMS
    from swiftsiam.pipeline.augment.spec import Normalize

    length = 64 * mmap.PAGESIZE
    memory = mmap.mmap(-1, length + mmap.PAGESIZE)
    buffer = np.frombuffer(memory, np.uint8)
    address = buffer.ctypes.data
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + length), mmap.PAGESIZE, 0) == 0
    rng = np.random.default_rng(0)
    buffer[:length] = rng.integers(0, 256, length, np.uint8)
    scratch, constants = make_scratch(size=40), make_constants(Normalize())
    checksum = 0
    out = np.zeros((1, 40, 40, 3), np.float32)
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


def test_second_start_compiles_nothing_and_a_guard_page_holds():
    image = make_picture(20, 20)
    run(image, make_params(image, 40), 40)  # compiled and cached at the latest here
    compiled, misses, _ = run_script(GUARDED).split()
    assert (compiled, misses) == ("0", "0")


def test_cache_knows_all_sources():
    assert source_digest() in [cell.cell_contents for cell in augment_view.py_func.__closure__]


@pytest.mark.slow
def test_other_processors_give_the_same_views():
    expected = float(run_script(GUARDED).split()[2])
    checksum = run_script(GUARDED, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="").split()[2]
    assert float(checksum) == pytest.approx(expected, rel=1e-6)
