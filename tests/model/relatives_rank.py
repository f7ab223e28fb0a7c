"""One of two processes that share batches: trains methods on its half, and writes what came of it.

What the other side of the comparison needs as well, `follow`, is taken from here.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from swiftsiam.model.method import Course, Method, ModelConfig, Output, build_method
from swiftsiam.pipeline.world import World
from swiftsiam.train.parallel import Sharing, wrap
from torch import nn

Batch = tuple[tuple[torch.Tensor, ...], torch.Tensor]


class Case(NamedTuple):
    """A method, its weights, and what it is trained on: in float64, or in float32 and compiled,
    with a small backbone.
    """

    config: ModelConfig
    course: Course
    state: dict[str, torch.Tensor]
    batches: list[Batch]
    compiled: bool = False


class Made(NamedTuple):
    """What came of it."""

    losses: list[torch.Tensor]
    gradients: list[dict[str, torch.Tensor]]
    """By names of parameters; of each step."""
    state: dict[str, torch.Tensor]


def shrink(model: Method) -> None:
    """Give it, and copies in it, a backbone of one layer, which compiles in no time."""
    for module in list(model.modules()):
        if isinstance(backbone := getattr(module, "backbone", None), nn.Module):
            small = nn.Sequential(
                nn.Conv2d(3, model.num_features, 8, stride=8, bias=False),
                nn.BatchNorm2d(model.num_features),
                nn.ReLU(inplace=True),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            is_trained = next(backbone.parameters()).requires_grad
            module.backbone = small.requires_grad_(is_trained)


def build(case: Case) -> Method:
    model = build_method(case.config)
    model.begin(case.course)
    if case.compiled:
        shrink(model)
    else:
        model.double()
    model.load_state_dict(case.state)
    return model


def follow(model: Method, forward: Callable[..., Output], batches: list[Batch]) -> Made:
    """Plain SGD, one step a batch."""
    parameters = [p for group in model.parameter_groups() for p in group.parameters]
    optimizer = torch.optim.SGD(parameters, lr=0.02, momentum=0.9)
    losses, gradients = [], []
    for views, index in batches:
        loss = forward(views, index).loss
        optimizer.zero_grad(set_to_none=False)  # as the averaging of gradients wants it
        loss.backward()
        losses.append(loss.detach())
        named = model.named_parameters()
        gradients.append({n: p.grad.clone() for n, p in named if p.grad is not None})
        optimizer.step()
        model.after_step()
    return Made(losses, gradients, model.state_dict())


def take_half(batch: Batch, rank: int) -> Batch:
    views, index = batch
    return tuple(view.chunk(2)[rank] for view in views), index.chunk(2)[rank]


def run(case: Case, world: World) -> Made:
    model = build(case)
    sharing = Sharing(world=world)
    forward = wrap(model, channels_last=False, compiled=case.compiled, sharing=sharing)
    return follow(model, forward, [take_half(batch, world.rank) for batch in case.batches])


def join() -> World:
    """Of two processes, with the groups that `World` makes where torchrun has started them."""
    world = World()
    world.rank, world.size = dist.get_rank(), 2
    world.group, world.layer_group = dist.group.WORLD, dist.new_group(backend="gloo")
    return world


def main() -> None:
    folder = Path(sys.argv[1])
    world = join()
    cases = torch.load(folder / "cases.pt", weights_only=False)  # as plain tuples, see `Case`
    full = torch.Tensor.float
    made: dict[str, Any] = {}
    for name, case in ((name, Case(*parts)) for name, parts in cases.items()):
        # Losses ask for float32 whatever they get: they are given float64 instead.
        torch.Tensor.float = full if case.compiled else torch.Tensor.double  # type: ignore
        made[name] = tuple(run(case, world))
    torch.save(made, folder / f"made-{world.rank}.pt")
    world.group = world.layer_group = None


if __name__ == "__main__":
    main()
