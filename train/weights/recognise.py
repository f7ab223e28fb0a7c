"""Which network some weights are of, by their shapes."""

from functools import cache
from pathlib import Path
from typing import get_args

import torch

from ...model.backbones import BackboneName, build_backbone
from ...model.method import ModelConfig, build_method
from ...pipeline.errors import UserError
from .layouts import Found, Weights

Shapes = dict[str, tuple[int, ...]]


@cache
def shapes_of(name: str) -> Shapes:
    """Of all parameters and buffers of a backbone, by name."""
    with torch.device("meta"):
        network, _ = build_backbone(name)
    return _shapes(network.state_dict())


def _shapes(weights: Weights) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def recognise_backbone(weights: Weights, path: Path) -> BackboneName:
    """The backbone whose names and shapes are all there, and no others.

    Raises:
        UserError: none is; tells what the nearest one has otherwise.
    """
    found = _shapes(weights)
    known = {name: shapes_of(name) for name in get_args(BackboneName)}
    for name, shapes in known.items():
        if shapes == found:
            return name
    nearest = max(known, key=lambda name: len(known[name].items() & found.items()))
    raise UserError(
        f"{path}: its network is none of {', '.join(known)}; nearest is {nearest}, in which "
        f"{_tell_difference(known[nearest], found)}"
    )


def check_backbone_fits(weights: Weights, name: str, path: Path) -> None:
    """Make sure that weights are those of a backbone, of whatever library.

    Raises:
        UserError: they are not; names the first that differs.
    """
    found = _shapes(weights)
    if found != shapes_of(name):
        raise UserError(
            f"{path}: its weights do not fit model.backbone={name} of the config.yaml or "
            f"config.json beside it, in which {_tell_difference(shapes_of(name), found)}; give the "
            "run's own, and the version of the library that it was trained with"
        )


def _tell_difference(expected: Shapes, found: Shapes) -> str:
    """The first weight that is another one."""
    names = sorted(expected.keys() | found.keys())
    name = next(name for name in names if expected.get(name) != found.get(name))
    return f"{name} is {_describe(expected.get(name))}, and there {_describe(found.get(name))}"


def _describe(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of {' x '.join(map(str, shape)) or 'no dimensions'}"


def recognise_model(found: Found, path: Path) -> ModelConfig:
    """The configuration of a foreign checkpoint's network; heads as the paper has them are taken
    over, and nothing is told of those that are not there.
    """
    backbone = recognise_backbone(found.backbone, path)
    if not has_heads(found):
        return ModelConfig(backbone=backbone)
    linears = [t for name, t in found.projector.items() if t.dim() == 2]
    return ModelConfig(
        backbone=backbone,
        projector_layers=len(linears),
        projector_hidden=linears[0].shape[0],
        projection_dim=linears[-1].shape[0],
        predictor_hidden=found.predictor["0.weight"].shape[0],
    )


def has_heads(found: Found) -> bool:
    """Whether the projector and the predictor are SimSiam's (paper, section 3)."""
    linears = {name for name, tensor in found.projector.items() if tensor.dim() == 2}
    return linears in ({"0.weight", "3.weight"}, {"0.weight", "3.weight", "6.weight"}) and (
        {"0.weight", "3.weight", "3.bias"} <= found.predictor.keys()
    )


def check_heads(found: Found, config: ModelConfig, path: Path) -> None:
    """Make sure that heads of this configuration take these weights.

    Raises:
        UserError: they do not; names the first that differs.
    """
    with torch.device("meta"):
        expected = build_method(config)
    for part, weights in (("projector", found.projector), ("predictor", found.predictor)):
        shapes = _shapes(getattr(expected, part).state_dict())
        there = _shapes(weights)
        for name in sorted(shapes.keys() | there.keys()):
            if shapes.get(name) != there.get(name):
                raise UserError(
                    f"{path}: its {part} is not the paper's: {name} should be "
                    f"{_describe(shapes.get(name))}, and is {_describe(there.get(name))}"
                )
