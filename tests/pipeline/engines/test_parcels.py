"""Batches on their way from a worker: shared memory, or the pipe where there is too little."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.sampler import PARAMS
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.contract import BadSample, EngineOptions, Result
from swiftsiam.pipeline.engines import parcels
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.loader import Loader
from torch.utils.data._utils.pin_memory import pin_memory

pytestmark = pytest.mark.slow

MakeLoader = Callable[..., Loader]


@pytest.fixture(autouse=True)
def not_yet_warned() -> None:
    parcels._warn_once.cache_clear()


@pytest.fixture
def options(make_options: Callable[..., EngineOptions]) -> EngineOptions:
    return make_options()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_shared", [True, False])
def test_what_goes_in_comes_out(dtype: torch.dtype, is_shared: bool) -> None:
    pixels = torch.randn(2, 3, 8, 8, 3).to(dtype)
    result = Result(
        tuple(view.permute(0, 3, 1, 2) for view in pixels), np.arange(3), [BadSample(1, "k", "why")]
    )
    opened = parcels.pack(result, is_shared=is_shared).open()
    assert opened.bad == result.bad
    assert opened.index.tolist() == [0, 1, 2]
    for view, expected in zip(opened.views, result.views, strict=True):
        assert torch.equal(view, expected)
        assert view.stride() == expected.stride()
        assert view.is_shared() == is_shared
        view += 1  # the caller's own


@pytest.mark.parametrize("is_shared", [True, False])
def test_crops_and_their_parameters_come_out(is_shared: bool) -> None:
    crops = torch.randint(0, 256, (6, 8, 8, 3), dtype=torch.uint8)
    params = np.zeros((2, 3), PARAMS)
    params["blur_sigma"] = 0.7
    result = Result((crops,), np.arange(3), [], params)
    opened = parcels.pack(result, is_shared=is_shared).open()
    assert opened.params is not None
    assert (opened.params == params).all()
    assert torch.equal(opened.pixels[0], crops)
    assert opened.pixels[0].is_contiguous()


@pytest.mark.parametrize("is_shared", [True, False])
def test_dataloader_pins_what_comes_in_parcels(
    monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    """Its function leaves alone what has no method of that name, without a word."""
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor, device: object = None) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    crops = torch.randint(0, 256, (6, 8, 8, 3), dtype=torch.uint8)
    result = Result((crops,), np.arange(3), [], np.zeros((2, 3), PARAMS))
    for item in (result, parcels.pack(result, is_shared=is_shared)):
        opened = pin_memory(item)
        assert isinstance(opened, Result)
        assert opened.pixels[0] is pinned[-1]
        assert torch.equal(opened.pixels[0], crops)


def test_a_full_shared_memory_is_gone_around(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> bytes:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(parcels.ForkingPickler, "dumps", full)
    result = Result((torch.randn(2, 8, 8, 3).permute(0, 3, 1, 2),), np.arange(2), [])
    for _ in range(2):
        opened = parcels.pack(result, is_shared=True).open()
        assert torch.equal(opened.views[0], result.views[0])
    assert capsys.readouterr().err.count("warning: no shared memory") == 1


def test_too_little_shared_memory_is_told_and_done_without(
    make_loader: MakeLoader,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    expected = list(make_loader())
    plain = shutil.disk_usage
    monkeypatch.setattr(
        parcels.shutil,
        "disk_usage",
        lambda path: SimpleNamespace(free=1000) if str(path) == "/dev/shm" else plain(path),
    )
    seen = list(make_loader(num_workers=2))
    for batch, other in zip(seen, expected, strict=True):
        assert all(map(torch.equal, batch.views, other.views))
    told = capfd.readouterr().err
    assert ("--shm-size" in told) == (engine == "torchvision")


@pytest.mark.parametrize(("batch_size", "size"), [(4, 8), (2048, 57)])
def test_as_much_shared_memory_as_batches_take_is_asked_for(
    make_options: Callable[..., EngineOptions],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    batch_size: int,
    size: int,
) -> None:
    """Sixteen cores and more feed a GPU, each with three batches under way."""
    specs = build_train_specs(AugmentConfig(size=224))
    options = make_options(specs=specs, batch_size=batch_size, dtype=torch.bfloat16)
    monkeypatch.setattr(parcels.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert not parcels.fits_shared_memory(options, num_batches=38)
    assert f"--shm-size={size}g)" in capsys.readouterr().err


def test_a_long_temporary_folder(class_folder: Path, tmp_path: Path) -> None:
    """Sockets lie there, whose paths may have 107 bytes."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    script = tmp_path / "plain.py"
    script.write_text(_MOUNTED)
    done = subprocess.run(
        [sys.executable, script, class_folder, ""],
        env=os.environ | {"TMPDIR": str(long)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "69\n"), done.stderr
    assert not list(long.glob("pymp-*"))


_MOUNTED = """
import os, sys
from swiftsiam.pipeline.augment.sampler import PARAMS
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.engines import parcels
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.sources import open_source
if __name__ == "__main__":
    loader = build_loader(
        source=open_source(sys.argv[1]), specs=build_train_specs(AugmentConfig(size=224)),
        global_batch_size=23, train=True, engine="torchvision", num_workers=2,
    )
    if sys.argv[2] == "it fills up later":
        parcels.fits_shared_memory = lambda *_, **__: True
        sys.modules["swiftsiam.pipeline.engines.torchvision_engine"].fits_shared_memory = (
            parcels.fits_shared_memory
        )
    with loader:
        print(sum(len(batch.index) for _ in range(3) for batch in loader))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("when", ["from the start", "it fills up later"])
def test_a_small_shared_memory(class_folder: Path, tmp_path: Path, when: str) -> None:
    """Docker's default is 64 MB; a batch of this test takes 28, and 8 are under way."""
    mount = ["unshare", "-m", "sh", "-c"]
    if subprocess.run([*mount, "mount -t tmpfs tmpfs /dev/shm"], check=False).returncode:
        pytest.skip("may not mount")
    script = tmp_path / "mounted.py"
    script.write_text(_MOUNTED)
    command = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" "$@"'
    done = subprocess.run(
        [*mount, command, sys.executable, script, class_folder, when],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["69"]
    assert "the pipe" in done.stderr or "through pipes" in done.stderr


def test_open_files_are_allowed_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    limits = (40, 1000)
    monkeypatch.setattr(parcels.resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(parcels.resource, "setrlimit", lambda _, pair: asked.append(pair))
    parcels.allow_open_files(num_workers=4, num_batches=14)
    assert asked == [(144, 1000)]
    limits = (40, 100)
    with pytest.raises(UserError, match=r"data.num_workers=4: takes 144 open files.*ulimit -n"):
        parcels.allow_open_files(num_workers=4, num_batches=14)
