"""The Triton kernels: interpreted against plain torch, compiled for GPUs, run where it can be."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.gpu import (
    make_crops,
    make_views,
    pack_params,
    pack_windows,
    torch_crops,
    torch_views,
)
from swiftsiam.pipeline.augment.gpu.packing import blur_reach
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs

pytestmark = pytest.mark.slow

SPEC, _ = build_train_specs(AugmentConfig())

INTERPRETED = """
    import numpy as np, torch
    from swiftsiam.pipeline.augment.gpu import pack_params, torch_views
    from swiftsiam.pipeline.augment.gpu import triton_views as kernels
    from swiftsiam.pipeline.augment.gpu.triton_views import triton_views
    from swiftsiam.pipeline.augment.sampler import draw_views, pack_spec
    from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs

    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)  # fills what `empty` returns with NaN
    # Blurred views of 60 px are four tiles, others one; those of 70 px without blur are four.
    for preset, size, count in (("imagenet", 60, 6), ("cifar", 70, 3)):
        config = AugmentConfig(preset=preset, size=size, jitter_prob=0.6, grayscale_prob=0.5)
        spec, _ = build_train_specs(config)
        sides = np.full(count, size)
        places = dict(seed=9, epoch=0, view=0, indices=np.arange(count))
        params = draw_views(pack_spec(spec), **places, heights=sides, widths=sides)
        for name in ("jitter", "grayscale", "flip"):
            assert {0, 1} == set(params[name]), name
        assert (params["blur_sigma"] > 0).any() == (preset == "imagenet")
        packed = pack_params(params)
        crops = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
        exact = torch_views(crops, packed, spec=spec, dtype=torch.float32)
        views = triton_views(crops, packed, spec=spec, dtype=torch.float32)
        torch.testing.assert_close(views, exact, rtol=0, atol=0.01 / 255)
        assert views.is_contiguous(memory_format=torch.channels_last)
        kernels.find_capability = lambda _: (8, 0)  # one plane at a time
        other = triton_views(crops, packed, spec=spec, dtype=torch.float32)
        torch.testing.assert_close(other, exact, rtol=0, atol=0.01 / 255)
        # Not bfloat16, which the interpreter truncates.
        rounded = triton_views(crops, packed, spec=spec, dtype=torch.float16)
        assert torch.equal(rounded, other.to(torch.float16))
        print(255 * float((views - exact).abs().max()))
"""

INTERPRETED_CROPS = """
    import numpy as np, torch
    from swiftsiam.pipeline.augment.gpu import pack_windows, torch_crops
    from swiftsiam.pipeline.augment.gpu.triton_crops import triton_crops
    from swiftsiam.pipeline.augment.sampler import PARAMS

    torch.manual_seed(0)
    # Pictures of 40 × 50 px beyond 2^31 bytes, in memory that is never touched but there; windows
    # of 1 px, upscaled, cut out of the middle, as large as the crop, and the whole picture.
    start, count = 2**31 + 12_345, 5
    pixels = torch.empty(start + count * 6000, dtype=torch.uint8)
    pixels[start:] = torch.randint(0, 256, (count * 6000,), dtype=torch.uint8)
    for size in (20, 5):
        params = np.zeros(count, PARAMS)
        params["top"], params["left"] = (39, 3, 4, 7, 0), (49, 1, 2, 5, 0)
        params["height"], params["width"] = (1, 9, 30, size, 40), (1, 30, 7, size, 50)
        params["resized_height"] = params["resized_width"] = size
        params["resized_height"][2], params["offset_top"][2] = size + 9, 6
        params["resized_width"][4], params["offset_left"][4] = 2 * size, size // 2
        starts, widths = start + 6000 * np.arange(count), np.full(count, 50)
        table, max_taps, _ = pack_windows(params, starts=starts, widths=widths)
        exact = torch_crops(pixels, table, size=size, max_taps=max_taps)
        crops = triton_crops(pixels, table, size=size)
        differences = (crops.int() - exact.int()).abs()
        # Halves, of which evenly scaled windows make some, may go either way.
        assert differences.max() <= 1, differences.amax((1, 2, 3))
        assert differences.float().mean() < 0.02
        print(int(differences.sum()))
    assert triton_crops(pixels, table[:0], size=8).shape == (0, 8, 8, 3)
"""


@pytest.mark.parametrize("code", [INTERPRETED, INTERPRETED_CROPS], ids=["views", "crops"])
def test_triton_interpreted(code: str) -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)


POINTERS = {
    "pixels": "*u8",
    "table": "*i64",
    "crops": "*u8",
    "packed": "*fp32",
    "means": "*fp32",
    "views": "*bf16",
}
CAPABILITIES = [(8, 0), (8, 9), (9, 0), (10, 0), (12, 0)]


def compile_for(capability: tuple[int, int], kernel, options: dict[str, int], path: Path):
    """The compiled kernel and its registers and spilled bytes a thread."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {name: value for name, value in options.items() if name.isupper()}
    signature = {}
    for name in kernel.arg_names:
        kind = "fp32" if name.endswith(("scale", "bias")) else "i32"
        signature[name] = "constexpr" if name in constants else POINTERS.get(name, kind)
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if name in POINTERS
    }
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", 10 * capability[0] + capability[1], 32),
        options={name: value for name, value in options.items() if name not in constants},
    )
    binary = path / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", str(binary)]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{name}:(\d+)", usage)[1]) for name in ("REG", "STACK"))
    print(kernel.__name__, registers, "registers", stack, "spilled", compiled.metadata.shared, "B")
    return compiled, registers, stack


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("reach", [0, blur_reach(SPEC)])
def test_view_kernel_compiled(tmp_path: Path, capability: tuple[int, int], reach: int) -> None:
    pytest.importorskip("triton")
    from swiftsiam.pipeline.augment.gpu import triton_kernels, triton_views

    options = triton_views.view_options(reach, capability)
    compiled, _, stack = compile_for(capability, triton_kernels.view_kernel, options, tmp_path)
    assert stack == 0
    # Any number of registers leaves room for two programs of 4 warps; so must the memory.
    assert compiled.metadata.shared <= 48 * 1024
    assert "cvt.rn.bf16" in compiled.asm["ptx"]  # to nearest
    if reach and capability[0] == 9:
        assert "wgmma.mma_async" in compiled.asm["ptx"]


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_mean_kernel_compiled(tmp_path: Path, capability: tuple[int, int]) -> None:
    pytest.importorskip("triton")
    from swiftsiam.pipeline.augment.gpu import triton_kernels, triton_views

    _, registers, stack = compile_for(
        capability, triton_kernels.mean_luma_kernel, triton_views.MEAN_OPTIONS, tmp_path
    )
    assert stack == 0
    assert registers <= 64  # four programs of 256 threads


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_crop_kernel_compiled(tmp_path: Path, capability: tuple[int, int]) -> None:
    pytest.importorskip("triton")
    from swiftsiam.pipeline.augment.gpu import triton_crops

    _, registers, stack = compile_for(
        capability, triton_crops.crop_kernel, triton_crops.OPTIONS, tmp_path
    )
    assert stack == 0
    assert registers <= 64  # eight programs of 128 threads


@pytest.fixture
def batch(draw: Callable[..., np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """64 crops of 224 px on the GPU and their packed parameters on the host."""
    crops = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), np.uint8)
    return torch.from_numpy(crops).cuda(), pack_params(draw(64, (224, 224)))


@pytest.mark.gpu
def test_triton_is_what_runs_on_a_gpu(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    from swiftsiam.pipeline.augment.gpu.triton_views import triton_views

    crops, packed = batch
    assert packed.is_pinned()
    views = make_views(crops, packed, spec=SPEC, dtype=torch.float32)
    packed = packed.cuda()
    assert torch.equal(views, triton_views(crops, packed, spec=SPEC, dtype=torch.float32))
    exact = torch_views(crops, packed, spec=SPEC, dtype=torch.float32)
    torch.testing.assert_close(views, exact, rtol=0, atol=0.02 / 255 / 0.225)


@pytest.mark.gpu
def test_triton_crops_are_what_runs_on_a_gpu(draw: Callable[..., np.ndarray]) -> None:
    from swiftsiam.pipeline.augment.gpu.triton_crops import triton_crops

    pixels = torch.randint(0, 256, (64 * 300 * 400 * 3,), dtype=torch.uint8, device="cuda")
    starts, widths = np.arange(64) * 300 * 400 * 3, np.full(64, 400)
    windows = pack_windows(draw(64, (300, 400)), starts=starts, widths=widths)
    crops, table = make_crops(pixels, windows, size=224), windows.table.cuda()
    assert torch.equal(crops, triton_crops(pixels, table, size=224))
    exact = torch_crops(pixels, table, size=224, max_taps=windows.max_taps)
    differences = (crops.int() - exact.int()).abs()
    assert differences.max() <= 1
    assert differences.float().mean() < 0.02


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
def test_no_synchronisation(
    batch: tuple[torch.Tensor, torch.Tensor], draw: Callable[..., np.ndarray]
) -> None:
    crops, packed = batch
    params, place = draw(64, (224, 224)), np.arange(64)
    windows = pack_windows(params, starts=place * 224 * 224 * 3, widths=place * 0 + 224)
    assert windows.table.is_pinned()

    def make() -> None:
        made = make_crops(crops.view(-1), windows, size=224)
        make_views(made, packed, spec=SPEC, dtype=torch.bfloat16)

    make()  # compiled and loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        make()
    finally:
        torch.cuda.set_sync_debug_mode("default")
