"""What the kernel reads, writes and refuses, and that its calls do not disturb each other."""

import pickle
import threading

import numpy as np
import pytest
from swiftsiam.pipeline.augment.cpu import Scratch, ViewKernel, augment_view, make_scratch
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    ColorJitter,
    GaussianBlur,
    Normalize,
    RandomResizedCrop,
    build_train_specs,
)
from swiftsiam.pipeline.errors import UserError

CROP_ONLY = AugmentSpec(ops=(RandomResizedCrop(size=24), Normalize()))
MARGIN, CANARY = 256, 21845


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((7, 5), (0, 0, 7, 5)),
        ((7, 11), (0, 0, 7, 11)),
        ((40, 50), (27, 33, 13, 17)),
        ((40, 50), (27, 47, 13, 3)),
        ((60, 200), (0, 157, 60, 43)),
        ((60, 200), (0, 50, 60, 150)),
        ((300, 20), (1, 0, 299, 20)),
    ],
)
def test_nothing_outside_the_window_matters(make_picture, make_params, run, shape, window):
    height, width = shape
    fields = dict(zip(("top", "left", "height", "width"), window, strict=True))
    top, left = fields["top"], fields["left"]
    inside = slice(top, top + fields["height"]), slice(left, left + fields["width"])
    views = []
    for canary in (0, 255):
        buffer = np.full(height * width * 3 + 2 * 4096, canary, np.uint8)
        image = buffer[4096:-4096].reshape(height, width, 3)
        image[inside] = make_picture(height, width)[inside]
        views.append(run(image, make_params(image, 24, blur_sigma=1.0, **fields), 24))
    assert (views[0] == views[1]).all()


def guard(scratch: Scratch) -> tuple[Scratch, dict[str, np.ndarray]]:
    """Scratch that lies within larger buffers, and those buffers."""
    guarded, buffers = {}, {}
    for name, array in scratch._asdict().items():
        guarded[name] = array
        if isinstance(array, np.ndarray):
            buffers[name] = np.full(array.size + 2 * MARGIN, CANARY, array.dtype)
            guarded[name] = buffers[name][MARGIN:-MARGIN].reshape(array.shape)
    return Scratch(**guarded), buffers


@pytest.mark.parametrize("size", [8, 17, 32, 40, 100])
def test_writes_stay_within_scratch_and_output(make_picture, make_params, plain_constants, size):
    rng = np.random.default_rng(size)
    for _ in range(40):
        height, width = (int(np.exp(rng.uniform(0, 7))) for _ in range(2))
        image = make_picture(height, width)
        scratch, buffers = guard(make_scratch(size=size, max_side=max(height, width)))
        fields = {"blur_sigma": rng.choice([0, 0.5, 5, 16]), "flip": rng.integers(2)}
        params = make_params(image, size, jitter=1, jitter_factor=(1.2, 0.8, 1.3, 0.1), **fields)
        for dtype in (np.float32, np.uint16, np.uint8):
            out = np.full((3, size, size, 3), 99, dtype)
            assert augment_view(image, params.repeat(3), 1, scratch, plain_constants, out)
            assert (out[[0, 2]] == 99).all()
            assert not (out[1] == 99).all()
        for name, buffer in buffers.items():
            assert (buffer[:MARGIN] == CANARY).all(), name
            assert (buffer[-MARGIN:] == CANARY).all(), name


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
def test_impossible_windows_are_refused(make_picture, make_params, fields):
    image = make_picture(40, 30)
    out = np.full((1, 24, 24, 3), 99, np.float32)
    with pytest.raises(ValueError, match="no such window"):
        ViewKernel(CROP_ONLY)(image, make_params(image, 24, **fields), 0, out)
    assert (out == 99).all()


def test_scratch_too_small_is_refused(make_picture, make_params, plain_constants):
    image = make_picture(1500, 20)
    params, out = make_params(image, 24), np.full((1, 24, 24, 3), 99, np.float32)
    for wrong in (make_scratch(size=24, max_side=1499), make_scratch(size=25, max_side=1500)):
        assert not augment_view(image, params, 0, wrong, plain_constants, out)
    assert (out == 99).all()
    fitting = make_scratch(size=24, max_side=1500)
    assert augment_view(image, params, 0, fitting, plain_constants, out)


def test_kernel_grows_its_scratch_and_can_be_pickled(make_picture, make_params, run):
    image = make_picture(1500, 20)
    kernel = pickle.loads(pickle.dumps(ViewKernel(CROP_ONLY)))
    kernel.constants = kernel.constants * 0 + 1  # bias 1: not to be mistaken for the fill
    out = np.zeros((1, 24, 24, 3), np.float32)
    kernel(image, make_params(image, 24), 0, out)
    assert (out >= 1).all()


@pytest.mark.parametrize(
    "op",
    [
        GaussianBlur(sigma=(1.0, 16.5)),
        ColorJitter(brightness=254.5),
        ColorJitter(saturation=300),
        ColorJitter(hue=0.6),
    ],
)
def test_what_the_kernel_cannot_do_is_refused_when_built(op):
    with pytest.raises(UserError, match=type(op).__name__):
        ViewKernel(AugmentSpec(ops=(RandomResizedCrop(size=24), op, Normalize())))


@pytest.mark.parametrize("size", [7, 1025])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(UserError, match=f"size {size}"):
        ViewKernel(AugmentSpec(ops=(RandomResizedCrop(size=size), Normalize())))


def test_threads_do_not_disturb_each_other(make_picture, draw_for):
    size, count = 128, 24
    spec, _ = build_train_specs(AugmentConfig(size=size, blur_prob=1.0, jitter_prob=1.0))
    images = [make_picture(200 + 40 * (seed % 5), 190, seed) for seed in range(count)]
    params = draw_for(spec, images)
    kernel = ViewKernel(spec)
    expected = np.zeros((count, size, size, 3), np.float32)
    kernel.augment(images, params, expected)
    start = threading.Barrier(2)
    wrong = []

    def work(step: int) -> None:  # the other thread goes the other way: never the same view at once
        out = np.zeros_like(expected)
        start.wait()
        for _ in range(20):
            kernel.augment(images[::step], params[::step].copy(), out)
            wrong.append((out != expected[::step]).any())

    threads = [threading.Thread(target=work, args=(step,)) for step in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 40
    assert not any(wrong)


def test_same_view_whatever_came_before(make_picture, make_params, plain_constants):
    small, large = make_picture(30, 20), make_picture(700, 900)
    fields = {"jitter": 1, "jitter_factor": (1.2, 0.8, 1.3, 0.1), "blur_sigma": 1.2}
    scratch = make_scratch(size=33, max_side=900)
    outs = np.zeros((3, 33, 33, 3), np.float32)
    for row, image in enumerate((small, large, small)):
        params = make_params(image, 33, **fields).repeat(3)
        assert augment_view(image, params, row, scratch, plain_constants, outs)
    assert (outs[0] == outs[2]).all()
    assert not (outs[0] == outs[1]).all()
