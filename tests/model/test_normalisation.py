"""Two ranks that share a batch normalise it as one process does the whole."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from swiftsiam.model.libraries import build_by_name
from swiftsiam.model.normalisation import RankedBatchNorm, rank_batch_norms
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from .two_ranks import run_two

pytestmark = pytest.mark.slow

RANK = Path(__file__).with_name("batch_norm_rank.py")

Inputs = list[torch.Tensor]
Compare = Callable[..., None]


def run_whole(network: nn.Module, inputs: Inputs, weights: Inputs) -> tuple:
    """By nn.BatchNorm, one process."""
    made = []
    for whole, factor in zip(inputs, weights, strict=True):
        batch = whole.clone(memory_format=torch.preserve_format).requires_grad_()
        output = network(batch)
        (output * factor).sum().backward()
        made.append((output.detach(), batch.grad))
    network.eval()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return made, gradients, network.state_dict(), network(inputs[0]).detach()


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """(network, inputs, rtol=…, compiled=…): two ranks against one process."""

    def compare(
        network: nn.Module, inputs: Inputs, *, tolerance: float, compiled: bool = False
    ) -> None:
        torch.manual_seed(1)
        weights = [torch.randn_like(copy.deepcopy(network)(batch)) for batch in inputs]
        torch.save({"network": network, "inputs": inputs, "weights": weights}, tmp_path / "case.pt")
        how = "compiled" if compiled else "eager"
        halves = run_two(RANK, tmp_path, how)
        made, gradients, state, evaluated = run_whole(network, inputs, weights)
        for number, (output, gradient) in enumerate(made):
            for place, wanted in enumerate((output, gradient)):
                for half in halves:
                    own = half[0][number][place]
                    assert own.stride() == wanted[: len(own)].stride()
                got = torch.cat([half[0][number][place] for half in halves])
                torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
        for name, wanted in gradients.items():
            # Each rank has its own rows' part: data parallel training takes the average.
            got = halves[0][1][name] + halves[1][1][name]
            torch.testing.assert_close(got, wanted, rtol=10 * tolerance, atol=10 * tolerance)
        for name, wanted in state.items():
            ours, theirs = (half[2][name] for half in halves)
            assert torch.equal(ours, theirs), name
            torch.testing.assert_close(ours, wanted, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(halves[0][3], evaluated, rtol=tolerance, atol=tolerance)

    return compare


def make_inputs(*shape: int, dtype: torch.dtype, offset: float = 0.0) -> Inputs:
    """Two batches whose halves have quite different means."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(2):
        batch = torch.randn(shape, generator=generator, dtype=torch.float64)
        batch[: shape[0] // 2] += 3
        batches.append((batch + offset).to(dtype))
    return batches


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d(5), (6, 5)),
        (nn.BatchNorm1d(5), (2, 5)),  # one row on each rank
        (nn.BatchNorm1d(5, affine=False), (6, 5)),
        (nn.BatchNorm2d(3, momentum=0.3, eps=1e-3), (4, 3, 5, 7)),
        (BatchNormAct2d(3, act_layer=nn.SiLU), (4, 3, 5, 7)),
    ],
    ids=["rows", "one row", "without affine", "pictures", "with an activation"],
)
def test_two_ranks_normalise_as_one_process(
    compare: Compare, norm: nn.Module, shape: tuple[int, ...]
) -> None:
    for parameter in norm.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    compare(norm.double(), make_inputs(*shape, dtype=torch.float64), tolerance=1e-12)


def test_channels_last_in_float32_far_from_zero(compare: Compare) -> None:
    """Where a mean of squares minus a squared mean would have cancelled."""
    batches = make_inputs(4, 3, 6, 6, dtype=torch.float32, offset=1000.0)
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in batches]
    compare(nn.BatchNorm2d(3), batches, tolerance=2e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_network(compare: Compare, compiled: bool) -> None:
    """Compiled as well, where a sum over the ranks would give wrong gradients without a word."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(8 * 16, 6, bias=False), nn.BatchNorm1d(6, affine=False),
    )  # fmt: skip
    batches = make_inputs(8, 3, 6, 6, dtype=torch.float64)
    compare(network.double(), batches, tolerance=1e-8, compiled=compiled)


@pytest.fixture
def alone(tmp_path: Path):
    """A group of one rank."""
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'alone'}", rank=0, world_size=1
    )
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_the_network_keeps_its_parameters_and_its_state(alone) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm1d(4)))
    parameters, keys = list(network.parameters()), list(network.state_dict())
    ranked = rank_batch_norms(network, alone)
    assert ranked is network
    assert [type(m) for m in ranked.modules()].count(RankedBatchNorm) == 2
    assert all(a is b for a, b in zip(ranked.parameters(), parameters, strict=True))
    assert list(ranked.state_dict()) == keys
    plain = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm1d(4)))
    plain.load_state_dict(ranked.state_dict())
    batch = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ranked(batch), plain(batch), rtol=1e-5, atol=1e-6)
    ranked.eval()
    plain.eval()
    torch.testing.assert_close(ranked(batch), plain(batch))


@pytest.mark.parametrize("name", ["resnetv2_50", "efficientnet_b0", "resnet18"])
def test_a_network_of_timm_stays_what_it_is(alone, name: str) -> None:
    """Many of its BatchNorms have their activation in them."""
    torch.manual_seed(0)
    network, _ = build_by_name(f"timm/{name}")
    views = torch.randn(4, 3, 64, 64)
    expected = copy.deepcopy(network)(views)
    keys = list(network.state_dict())
    found = rank_batch_norms(network, alone)
    assert any(isinstance(module, RankedBatchNorm) for module in found.modules())
    torch.testing.assert_close(found(views), expected, rtol=1e-3, atol=1e-4)
    assert list(found.state_dict()) == keys


def test_a_batch_norm_that_does_more_is_refused(alone) -> None:
    class Doubled(nn.BatchNorm1d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    with pytest.raises(ValueError, match="does more than normalise"):
        rank_batch_norms(nn.Sequential(Doubled(4)), alone)
    with_more = BatchNormAct2d(4)
    with_more.aux = nn.Identity()
    with pytest.raises(ValueError, match="does more than normalise"):
        rank_batch_norms(with_more, alone)


@pytest.mark.parametrize("settings", [{"momentum": None}, {"track_running_stats": False}])
def test_what_it_cannot_do_is_refused(alone, settings: dict) -> None:
    with pytest.raises(ValueError, match="running statistics and a momentum"):
        rank_batch_norms(nn.Sequential(nn.BatchNorm1d(4, **settings)), alone)
