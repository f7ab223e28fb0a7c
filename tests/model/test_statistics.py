import pytest
import torch
from swiftsiam.model.statistics import effective_rank, normalized_std


def test_std_is_one_for_isotropic_outputs() -> None:
    z = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert normalized_std(z).item() == pytest.approx(1, abs=0.02)


def test_std_is_zero_when_all_outputs_are_equal() -> None:
    z = torch.ones(100, 64) * torch.arange(64)
    assert normalized_std(z).item() < 1e-3


def test_rank_counts_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(500, 5, generator=generator)
    wide = codes @ torch.linalg.qr(torch.randn(64, 5, generator=generator))[0].T
    assert effective_rank(wide).item() == pytest.approx(5, abs=0.3)
    assert effective_rank(torch.randn(500, 64, generator=generator)).item() > 50
