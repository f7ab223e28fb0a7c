"""Crops of decoded pictures by plain torch, and on a GPU by Triton, against the float64 oracle."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment import reference
from swiftsiam.pipeline.augment.cpu import ViewKernel
from swiftsiam.pipeline.augment.gpu import Windows, make_crops, pack_windows, torch_crops
from swiftsiam.pipeline.augment.sampler import PARAMS, draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import (
    AugmentConfig,
    AugmentSpec,
    Normalize,
    RandomResizedCrop,
    build_eval_spec,
    build_train_specs,
)
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

pytestmark = pytest.mark.usefixtures("single_thread")

SHAPES = ((48, 64), (64, 48), (50, 50), (37, 90), (120, 33), (1, 1), (1, 40), (300, 200))
"""Of pictures of one buffer; of the last, windows are up to 300 px."""

DrawPicture = Callable[[int, int, int], np.ndarray]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where the crops are made: by plain torch on the CPU, by Triton on a GPU."""
    return request.param


@pytest.fixture(scope="module")
def images(draw_picture: DrawPicture) -> list[np.ndarray]:
    return [draw_picture(seed, *shape) for seed, shape in enumerate(SHAPES)]


def draw_params(images: list[np.ndarray], spec: AugmentSpec, seed: int = 0) -> np.ndarray:
    """As the sampler draws them, colours and flips included, which concern nobody here."""
    heights, widths = np.array([image.shape[:2] for image in images]).T
    places = {"seed": seed, "epoch": 0, "view": 0, "indices": np.arange(len(images))}
    return draw_views(pack_spec(spec), **places, heights=heights, widths=widths)


def make_window(height: int, width: int, size: int, **fields: int) -> np.ndarray:
    """One record: the window (0, 0, height, width) resized to the crop, but for `fields`."""
    params = np.zeros(1, PARAMS)
    params["height"], params["width"] = height, width
    params["resized_height"] = params["resized_width"] = size
    for name, value in fields.items():
        params[name] = value
    return params


def pack(images: list[np.ndarray], params: np.ndarray) -> tuple[torch.Tensor, Windows]:
    """The pictures one after another, and one window of each."""
    pixels = np.concatenate([image.reshape(-1) for image in images])
    starts = np.cumsum([0, *(image.size for image in images)])[:-1]
    widths = np.array([image.shape[1] for image in images])
    return torch.from_numpy(pixels), pack_windows(params, starts=starts, widths=widths)


def run(images: list[np.ndarray], params: np.ndarray, size: int, device: str) -> torch.Tensor:
    pixels, windows = pack(images, params)
    crops = make_crops(pixels.to(device), windows, size=size)
    assert crops.device.type == device
    assert crops.dtype == torch.uint8
    assert crops.shape == (len(images), size, size, 3)
    assert crops.is_contiguous()
    return crops.cpu()


def assert_right(images: list[np.ndarray], params: np.ndarray, size: int, device: str) -> None:
    """The contract's tolerance on average; each pixel is the oracle's, rounded to nearest."""
    crops = run(images, params, size, device)
    pairs = zip(images, params, strict=True)
    exact = 255 * torch.stack([reference.crop_and_resize(*pair, size=size) for pair in pairs])
    errors = (crops.permute(0, 3, 1, 2) - exact).abs()
    means = errors.mean((1, 2, 3))
    assert means.mean() <= 0.3, means
    assert means.max() <= 0.5, means
    assert errors.max() <= 0.51


@pytest.mark.parametrize("size", [8, 32, 37, 64, 224])
def test_random_crops(images: list[np.ndarray], device: str, size: int) -> None:
    spec = AugmentSpec(ops=(RandomResizedCrop(size=size, scale=(0.08, 1.0)), Normalize()))
    for seed in range(1 if size == 224 else 4):
        assert_right(images, draw_params(images, spec, seed), size, device)


@pytest.mark.parametrize("size", [8, 33])
def test_windows_to_the_pixel(draw_picture: DrawPicture, device: str, size: int) -> None:
    """One pixel; one row; a window in the middle; the same size; all but a border; much smaller."""
    image = draw_picture(0, 20 * size, 21 * size)
    windows = (
        make_window(1, 1, size, top=3, left=5),
        make_window(1, 21 * size, size, top=20 * size - 1),
        make_window(20 * size, 1, size, left=21 * size - 1),
        make_window(5, 7, size, top=11, left=2),
        make_window(size, size, size, top=1, left=2),
        make_window(20 * size - 2, 21 * size - 2, size, top=1, left=1),
        make_window(20 * size, 21 * size, size),
    )
    assert_right([image] * len(windows), np.concatenate(windows), size, device)


def test_evaluation_views(images: list[np.ndarray], device: str) -> None:
    images = [image for image in images if min(image.shape[:2]) > 1]
    spec = build_eval_spec(AugmentConfig(size=24))
    params = draw_params(images, spec)
    assert (params["offset_top"] > 0).any()
    assert (params["offset_left"] > 0).any()
    assert_right(images, params, 24, device)


@pytest.mark.parametrize("size", [8, 32, 224])
def test_as_the_cpu_kernel(images: list[np.ndarray], device: str, size: int) -> None:
    """Not mirrored, whatever `flip` says: that is left to the view kernel."""
    spec, _ = build_train_specs(AugmentConfig(size=size))
    params = draw_params(images, spec)
    params["flip"] = 1
    crops = run(images, params, size, device)
    params["flip"] = 0
    expected = np.empty((len(images), size, size, 3), np.uint8)
    ViewKernel(spec).augment(images, params, expected)
    assert np.abs(crops.numpy().astype(int) - expected).max() <= 1


def test_pictures_beyond_two_to_the_31(draw_picture: DrawPicture, device: str) -> None:
    """Of memory that is never touched but at its end."""
    image, start = draw_picture(0, 40, 50), 2**31 + 12_345
    pixels = torch.empty(start + image.size, dtype=torch.uint8, device=device)
    pixels[start:] = torch.from_numpy(image.reshape(-1))
    params = make_window(31, 29, 16, top=7, left=20)
    windows = pack_windows(params, starts=np.array([start]), widths=np.array([50]))
    crops = make_crops(pixels, windows, size=16)
    assert torch.equal(crops.cpu(), run([image], params, 16, device))


def test_many_small_pictures(draw_picture: DrawPicture, device: str) -> None:
    """More than are made at once by plain torch; each is as if it were alone."""
    images = [draw_picture(seed % 8, 32, 32) for seed in range(1100)]
    spec, _ = build_train_specs(AugmentConfig(preset="cifar", size=32))
    params = draw_params(images, spec)
    crops = run(images, params, 32, device)
    for row in (0, 1023, 1024, 1099):
        alone = run(images[row : row + 1], params[row : row + 1], 32, device)
        assert torch.equal(crops[row : row + 1], alone)


def test_no_views_at_all(device: str) -> None:
    nothing = np.empty(0, np.int64)
    windows = pack_windows(np.empty(0, PARAMS), starts=nothing, widths=nothing)
    pixels = torch.empty(0, dtype=torch.uint8, device=device)
    assert make_crops(pixels, windows, size=8).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 7.3, 20])
def test_the_number_of_taps_is_enough_and_not_more(scale: float) -> None:
    """Known on the host: what one more tap adds is nothing, what one less takes is something."""
    size = 16
    side = round(scale * size)
    generator = torch.Generator().manual_seed(0)
    shape = (side * side * 3,)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    params, place = make_window(side, side, size), np.array([0])
    table, taps, end = pack_windows(params, starts=place, widths=place + side)
    assert end == len(pixels)
    crops = torch_crops(pixels, table, size=size, max_taps=taps)
    assert torch.equal(torch_crops(pixels, table, size=size, max_taps=taps + 1), crops)
    if scale not in (1, 3):  # there the triangle ends at pixels' centres
        assert not torch.equal(torch_crops(pixels, table, size=size, max_taps=taps - 1), crops)


def test_what_lies_beyond_is_refused(images: list[np.ndarray]) -> None:
    image = images[0]
    height, width = image.shape[:2]
    pixels, windows = pack([image], make_window(height, width, 8))
    make_crops(pixels, windows, size=8)
    with pytest.raises(AssertionError):
        make_crops(pixels[:-1], windows, size=8)
    with pytest.raises(AssertionError, match="wider"):
        pack([image], make_window(height, width, 8, left=1))
    with pytest.raises(AssertionError, match="empty"):
        pack([image], make_window(0, width, 8))
    with pytest.raises(AssertionError, match="negative"):
        pack([image], make_window(height, width, 8, top=-1))


def test_torch_form_stays_on_its_device_and_waits_for_nothing() -> None:
    """Seen without a GPU: such tensors have no data, so that looking at one raises."""
    with FakeTensorMode():
        pixels = torch.empty(10_000, dtype=torch.uint8, device="cuda")
        table = torch.empty((3, 10), dtype=torch.int64, device="cuda")
        crops = torch_crops(pixels, table, size=16, max_taps=4)
        assert crops.device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            table.max().item()
