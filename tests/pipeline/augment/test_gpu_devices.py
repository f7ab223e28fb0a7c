"""Where the Triton kernels are taken to run."""

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from swiftsiam.pipeline.augment.gpu import devices
from swiftsiam.pipeline.augment.gpu.devices import runs_triton


@pytest.fixture(autouse=True)
def hopper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine on which everything is there."""
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sysconfig, "get_paths", lambda scheme: {"include": str(tmp_path)})
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    runs_triton.cache_clear()
    yield
    runs_triton.cache_clear()


def runs() -> bool:
    runs_triton.cache_clear()
    return runs_triton(torch.device("cuda", 0))


def test_from_ampere_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs()
    assert not runs_triton(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not runs()


def test_not_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would end at its first batch."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not runs()
    monkeypatch.setenv("CC", "tcc")
    assert runs()


def test_not_without_pythons_header(tmp_path: Path) -> None:
    (tmp_path / "Python.h").unlink()
    assert not runs()
