"""What ranks have in common that each normalise by their own rows."""

from pathlib import Path

import pytest
import torch

from ..model.two_ranks import run_two


@pytest.mark.slow
def test_all_take_the_first_ones_running_statistics(tmp_path: Path) -> None:
    first, second = run_two(Path(__file__).with_name("parallel_rank.py"), tmp_path)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[1], second[1])
    assert first[2] == second[2] == 1
