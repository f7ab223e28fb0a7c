"""SimSiam's relatives where several processes share each batch, and where they are compiled: they
do what one process does with all of it, and what they do as they are.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from swiftsiam.model import variant
from swiftsiam.model.method import ModelConfig, build_method

from . import relatives_rank
from .relatives_cases import (
    BASE,
    CONFIGS,
    TWO,
    WITHIN,
    build,
    make_course,
    make_index,
    make_views,
)
from .relatives_rank import Case, Made, follow
from .two_ranks import run_two

RANKED = {
    name: CONFIGS[name]
    for name in (
        "simclr", "simclr with predictor", "simclr with both", "byol", "swav",
        "swav with small views", "swav without stop-gradient", "swav with both",
    )
}  # fmt: skip
RANKED["moco"] = CONFIGS["moco"]
for velocity in (0.0, 0.5):
    RANKED[f"picture average, velocity {velocity}"] = (
        variant.Config(**BASE, target="picture_average", target_velocity=velocity),
        TWO,
    )
RANK_STEPS = 4


def make_case(config: ModelConfig, sizes: tuple[int, ...]) -> Case:
    batches = [(make_views(sizes, seed=step), make_index(step=step)) for step in range(RANK_STEPS)]
    state = build(config, sizes=sizes).state_dict()
    return Case(config, make_course(sizes), state, batches)


def run_ranks(cases: dict[str, Case], folder: Path) -> list[dict[str, Made]]:
    """What two processes have made of them, each."""
    torch.save({name: tuple(case) for name, case in cases.items()}, folder / "cases.pt")
    halves = run_two(Path(relatives_rank.__file__), folder)
    return [{name: Made(*made) for name, made in half.items()} for half in halves]


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Made]]:
    cases = {name: make_case(*RANKED[name]) for name in RANKED}
    return run_ranks(cases, tmp_path_factory.mktemp("ranks"))


def compare_ranks(halves: list[Made], whole: Made, **within: Any) -> None:
    """Losses, whose mean counts; gradients, averaged already; and all that is kept."""
    for step, wanted in enumerate(whole.losses):
        losses = torch.stack([half.losses[step] for half in halves])
        torch.testing.assert_close(losses.mean(), wanted, **within)
        for name, gradient in whole.gradients[step].items():
            one, other = (half.gradients[step][name] for half in halves)
            assert torch.equal(one, other), name
            torch.testing.assert_close(
                one, gradient, **within, msg=lambda told, n=name, s=step: f"{s} {n}: {told}"
            )
    for name, wanted in whole.state.items():
        one, other = (half.state[name] for half in halves)
        assert torch.equal(one, other), name
        torch.testing.assert_close(one, wanted, **within, msg=lambda told, n=name: f"{n}: {told}")


@pytest.mark.slow
@pytest.mark.parametrize("name", RANKED)
@pytest.mark.usefixtures("in_float64")
def test_two_processes_do_what_one_does(ranked: list[dict[str, Made]], name: str) -> None:
    """Each with half of the rows; the queue and the pictures' averages are the same on both."""
    model = relatives_rank.build(case := make_case(*RANKED[name]))
    whole = follow(model, model, case.batches)
    compare_ranks([half[name] for half in ranked], whole, **WITHIN)
    assert len({loss.item() for loss in ranked[0][name].losses}) == RANK_STEPS
    parts = [half[name].losses[0].item() for half in ranked]
    assert parts[0] != pytest.approx(parts[1], rel=1e-3)  # of other rows


# In float32, in which the compiler's kernels round otherwise than the eager ones; BatchNorm over
# few rows amplifies it.
COMPILED_WITHIN = 1e-3
COMPILED_STEPS = 2
COMPILED = ["simclr with both", "byol", "moco", "swav with small views", "swav with both"]
COMPILED += ["picture average, velocity 0.5"]
campaign = pytest.mark.campaign
_RESTING = pytest.param("picture average, velocity 0.0", marks=campaign)


def make_compiled_case(name: str) -> Case:
    config, sizes = RANKED[name]
    torch.manual_seed(0)
    model = build_method(config)
    model.begin(make_course(sizes))
    relatives_rank.shrink(model)
    batches = [
        (tuple(view.float() for view in make_views(sizes, seed=step)), make_index(step=step))
        for step in range(COMPILED_STEPS)
    ]
    return Case(config, make_course(sizes), model.state_dict(), batches, compiled=True)


def compare_norms(made: Made, wanted: Made) -> None:
    """Losses, and each gradient by the norm of all together."""
    for step, gradients in enumerate(wanted.gradients):
        torch.testing.assert_close(
            made.losses[step], wanted.losses[step], rtol=COMPILED_WITHIN, atol=COMPILED_WITHIN
        )
        size = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        for name, gradient in gradients.items():
            error = (made.gradients[step][name] - gradient).norm() / size
            assert error <= COMPILED_WITHIN, f"{step} {name}: off by {error:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMPILED, _RESTING])
def test_compiled_in_one_graph(name: str) -> None:
    """No break, and none made anew; losses and gradients are the eager ones."""
    case = make_compiled_case(name)
    eager, compiled = (relatives_rank.build(case) for _ in range(2))
    torch._dynamo.reset()
    compiled.compile(fullgraph=True, dynamic=False)
    with torch._dynamo.config.patch(error_on_recompile=True):
        made = follow(compiled, compiled, case.batches)
    compare_norms(made, follow(eager, eager, case.batches))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("simclr with both", "moco") else pytest.param(name, marks=campaign)
        for name in COMPILED
    ]
    + [_RESTING],
)
def test_two_compiled_processes_do_what_one_does(name: str, tmp_path: Path) -> None:
    """What they exchange is lost in no graph."""
    case = make_compiled_case(name)
    halves = [half[name] for half in run_ranks({name: case}, tmp_path)]
    eager = relatives_rank.build(case)
    whole = follow(eager, eager, case.batches)
    one, other = halves
    for step, gradients in enumerate(one.gradients):
        for parameter, gradient in gradients.items():
            assert torch.equal(gradient, other.gradients[step][parameter]), parameter
    losses = [torch.stack(pair).mean() for pair in zip(one.losses, other.losses, strict=True)]
    compare_norms(one._replace(losses=losses), whole)
