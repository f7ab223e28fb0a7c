"""Views by plain torch, and on a GPU by Triton, against the float64 oracle."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment import reference
from swiftsiam.pipeline.augment.gpu import make_views, pack_params, torch_views
from swiftsiam.pipeline.augment.gpu.packing import SIGMA, blur_reach
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
    AugmentSpec,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
)

pytestmark = pytest.mark.usefixtures("single_thread")

FACTORS = {BRIGHTNESS: 1.35, CONTRAST: 0.65, SATURATION: 1.4, HUE: 0.09}
NEUTRAL = {BRIGHTNESS: 1.0, CONTRAST: 1.0, SATURATION: 1.0, HUE: 0.0}
TOLERANCE = 0.01  # of 255; the contract allows 0.1 on average and 0.3 for the worst picture

MakeCrops = Callable[[int, int], np.ndarray]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where the views are made: by plain torch on the CPU, by Triton on a GPU."""
    return request.param


@pytest.fixture(scope="module")
def make_crops(draw_picture: Callable[[int, int, int], np.ndarray]) -> MakeCrops:
    """(count, size) → (count, size, size, 3) uint8."""
    return lambda count, size: np.stack([draw_picture(seed, size, size) for seed in range(count)])


def build_spec(size: int, *, sigma: float = 2.0, normalize: Normalize | None = None) -> AugmentSpec:
    """All operations on the whole crop; normalised to the picture in [0, 1] unless told."""
    return AugmentSpec(
        ops=(
            RandomResizedCrop(size=size, scale=(1.0, 1.0), ratio=(1.0, 1.0)),
            ColorJitter(),
            Grayscale(),
            GaussianBlur(sigma=(0.1, sigma)),
            HorizontalFlip(),
            normalize or Normalize(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        )
    )


def draw_params(count: int, size: int) -> np.ndarray:
    """As the sampler draws them; the window is the whole crop."""
    sides = np.full(count, size)
    packed = pack_spec(build_spec(size))
    places = {"seed": 0, "epoch": 0, "view": 0, "indices": np.arange(count)}
    params = draw_views(packed, **places, heights=sides, widths=sides)
    assert (params["height"] == size).all()
    assert (params["width"] == size).all()
    return params


def make_params(count: int, size: int, **fields: object) -> np.ndarray:
    """Nothing is done but for `fields`."""
    params = np.zeros(count, PARAMS)
    for name in ("height", "width", "resized_height", "resized_width"):
        params[name] = size
    params["jitter_order"] = range(4)
    params["jitter_factor"] = list(NEUTRAL.values())
    for name, value in fields.items():
        params[name] = value
    return params


def run(
    crops: np.ndarray,
    params: np.ndarray,
    *,
    device: str,
    spec: AugmentSpec | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    spec = spec or build_spec(crops.shape[1])
    pixels = torch.from_numpy(crops).to(device)
    return make_views(pixels, pack_params(params), spec=spec, dtype=dtype).cpu()


def run_oracle(crops: np.ndarray, params: np.ndarray) -> torch.Tensor:
    pairs = zip(crops, params, strict=True)
    return torch.stack([reference.augment(*pair, size=crops.shape[1]) for pair in pairs])


def assert_right(crops: np.ndarray, params: np.ndarray, device: str) -> None:
    difference = run(crops, params, device=device).double() - run_oracle(crops, params)
    errors = 255 * difference.abs().mean((1, 2, 3))
    assert errors.max() < TOLERANCE, errors


@pytest.mark.parametrize(("size", "count"), [(8, 30), (32, 60), (37, 60), (64, 40), (224, 12)])
def test_whole_views(make_crops: MakeCrops, device: str, size: int, count: int) -> None:
    params = draw_params(count, size)
    assert {0, 1} == set(params["jitter"]) == set(params["grayscale"]) == set(params["flip"])
    assert {0, 1} == set(params["blur_sigma"] > 0)
    assert_right(make_crops(count, size), params, device)


@pytest.mark.parametrize("op", FACTORS)
def test_each_operation_of_the_jitter(make_crops: MakeCrops, device: str, op: int) -> None:
    turns = (-0.5, -0.31, -0.1, -0.01, 0.0, 0.05, 0.1, 0.25, 0.5)
    values = turns if op == HUE else (0.0, 0.3, 0.6, 1.0, 1.001, 1.4, 1.8, 3.0, 7.5)
    params = make_params(len(values), 40, jitter=1)
    params["jitter_factor"][:, op] = values
    crops = np.repeat(make_crops(1, 40), len(values), axis=0)
    assert_right(crops, params, device)
    plain = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    changes = (run(crops, params, device=device) - plain).abs().mean((1, 2, 3))
    assert ((changes > 1e-5).numpy() == (np.array(values) != NEUTRAL[op])).all()


def test_hue_of_all_corners(device: str) -> None:
    corners = np.array(list(itertools.product((0, 1, 127, 128, 254, 255), repeat=3)), np.uint8)
    turns = np.linspace(-0.5, 0.5, 21)
    params = make_params(len(turns), 16, jitter=1)
    params["jitter_factor"][:, HUE] = turns
    crops = np.tile(np.resize(corners, (16, 16, 3)), (len(turns), 1, 1, 1))
    difference = run(crops, params, device=device) - run_oracle(crops, params)
    assert 255 * difference.abs().max() < 0.01


def test_all_orders(make_crops: MakeCrops, device: str) -> None:
    orders = list(itertools.permutations(range(4)))
    factors = list(FACTORS.values())
    params = make_params(24, 40, jitter=1, jitter_order=orders, jitter_factor=factors)
    crops = np.repeat(make_crops(1, 40), 24, axis=0)
    assert_right(crops, params, device)
    views = run(crops, params, device=device).flatten(1)
    assert len(views.unique(dim=0)) > 12  # brightness and hue, for one, commute


@pytest.mark.parametrize("jitter", [0, 1])
def test_grayscale(make_crops: MakeCrops, device: str, jitter: int) -> None:
    factors = list(FACTORS.values())
    params = make_params(3, 40, grayscale=1, jitter=jitter, jitter_factor=factors)
    crops = make_crops(3, 40)
    assert_right(crops, params, device)
    red, green, blue = run(crops, params, device=device).unbind(1)
    assert torch.equal(red, green)
    assert torch.equal(red, blue)


@pytest.mark.parametrize("size", [8, 40, 100])
@pytest.mark.parametrize("greatest", [2.0, 4.0, 11.0])
def test_blur(make_crops: MakeCrops, device: str, size: int, greatest: float) -> None:
    sigmas = greatest * np.array([0.0, 0.001, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0])
    params = make_params(len(sigmas), size, blur_sigma=sigmas)
    crops = make_crops(len(sigmas), size)
    views = run(crops, params, device=device, spec=build_spec(size, sigma=greatest))
    difference = (views.double() - run_oracle(crops, params)).abs()
    assert 255 * difference.mean((1, 2, 3)).max() < TOLERANCE
    assert 255 * difference.max() < 0.02


def test_spec_without_blur(make_crops: MakeCrops, device: str) -> None:
    spec = AugmentSpec(ops=(RandomResizedCrop(size=20), Normalize()))
    assert blur_reach(spec) == 0
    crops, normalize = make_crops(3, 20), spec.normalize
    views = run(crops, make_params(3, 20), device=device, spec=spec)
    expected = (crops / 255 - normalize.mean) / normalize.std
    torch.testing.assert_close(
        views.permute(0, 2, 3, 1).double(), torch.from_numpy(expected), rtol=0, atol=1e-5
    )


def test_flip_mirrors_unless_done_already(make_crops: MakeCrops, device: str) -> None:
    fields = {"jitter": 1, "jitter_factor": list(FACTORS.values()), "blur_sigma": [0.0, 0.9]}
    crops, spec = make_crops(2, 33), build_spec(33)
    pixels = torch.from_numpy(crops).to(device)
    plain = run(crops, make_params(2, 33, **fields), device=device)
    mirrored = make_params(2, 33, flip=1, **fields)
    assert torch.equal(run(crops, mirrored, device=device), plain.flip(-1))
    packed = pack_params(mirrored, is_flipped=True)
    assert torch.equal(make_views(pixels, packed, spec=spec, dtype=torch.float32).cpu(), plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_types_are_float32_rounded(
    make_crops: MakeCrops, device: str, dtype: torch.dtype
) -> None:
    spec = build_spec(37, normalize=Normalize())
    crops, params = make_crops(20, 37), draw_params(20, 37)
    exact = run(crops, params, device=device, spec=spec)
    views = run(crops, params, device=device, spec=spec, dtype=dtype)
    assert views.shape == exact.shape == (20, 3, 37, 37)
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert views[:10].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(views, exact.to(dtype))
    mean, std = (torch.tensor(v)[:, None, None] for v in (spec.normalize.mean, spec.normalize.std))
    plain = run_oracle(crops, params)
    assert 255 * (exact * std + mean - plain).abs().mean() < TOLERANCE


def test_pictures_do_not_disturb_each_other(make_crops: MakeCrops, device: str) -> None:
    crops, params = make_crops(12, 32), draw_params(12, 32)
    together = run(crops, params, device=device)
    alone = [run(crops[i : i + 1], params[i : i + 1], device=device) for i in range(12)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-6)


def test_packing_refuses_turns_that_hue_does_not_know() -> None:
    with pytest.raises(AssertionError, match="half a circle"):
        pack_params(make_params(1, 8, jitter_factor=(1, 1, 1, 0.6)))


@pytest.mark.slow
def test_torch_views_are_one_graph(make_crops: MakeCrops) -> None:
    spec, crops = build_spec(16), torch.from_numpy(make_crops(4, 16))
    packed = pack_params(draw_params(4, 16))
    compiled = torch.compile(torch_views, backend="eager", fullgraph=True)
    views = compiled(crops, packed, spec=spec, dtype=torch.float32)
    assert torch.equal(views, torch_views(crops, packed, spec=spec, dtype=torch.float32))


def test_padding_of_the_packed_steps_is_neutral() -> None:
    packed = pack_params(make_params(2, 8, blur_sigma=[0.0, 1.5]))
    assert packed.dtype == torch.float32
    assert packed[:, SIGMA].tolist() == [0.0, 1.5]
    assert packed[0].tolist() == [0, -1, 0, 0, *5 * [0, 1, 0, 0]]
