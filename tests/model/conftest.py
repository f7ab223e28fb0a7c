import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def _single_thread(single_thread: None) -> None:
    """For the small networks."""


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """What asks for float32 gets float64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
