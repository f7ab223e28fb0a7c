"""What others call the weights of a ResNet, and of SimSiam's heads.

Sources: the reference implementation's checkpoints (github.com/facebookresearch/simsiam); MoCo's
conversion for Detectron2; the trainers named in `_TRAINERS`, by what their checkpoints hold.
"""

import re
from typing import Any, NamedTuple

import torch

Weights = dict[str, torch.Tensor]
"""By name."""

_HEADS = {"projector.": "module.encoder.fc.", "predictor.": "module.predictor."}
_BACKBONE = ("backbone.", "module.encoder.")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")

# `nn.Sequential(*list(resnet.children())[:-1])`: what is numbered in it.
_NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


class Trainer(NamedTuple):
    """Where a kind of checkpoint has its backbone."""

    name: str
    prefix: str
    projector: str | None = None
    """Prefix of SimSiam's own projector, where it is one."""
    predictor: str | None = None


_TRAINERS = (
    Trainer("the SimSiam reference", "encoder.", "encoder.fc.", "predictor."),
    Trainer("MoCo", "encoder_q."),
    Trainer("MoCo v3", "base_encoder."),
    Trainer("BYOL (byol-pytorch)", "online_encoder.net."),
    Trainer("BYOL (lightning-bolts)", "online_network.encoder."),
    Trainer("solo-learn, mmselfsup or lightly", "backbone."),
    Trainer("solo-learn or PyTorch-BYOL", "encoder."),
    Trainer("torchvision", ""),
    Trainer("a model within a model", "model."),
)
"""The first whose backbone is there is it: a query encoder lies before its momentum copy."""


class Found(NamedTuple):
    """A foreign checkpoint, by our names."""

    trainer: str
    backbone: Weights
    projector: Weights
    predictor: Weights


def find_weights(weights: Weights) -> Found | None:
    """The backbone, and SimSiam's heads, in a foreign checkpoint; None: no ResNet is in it.

    Args:
        weights: by their names there; `module.` of data parallel training may stand before each.
    """
    if weights and all(name.startswith("module.") for name in weights):
        weights = _below("module.", weights)
    for trainer in _TRAINERS:
        backbone = _below(trainer.prefix, weights)
        if "0.weight" in backbone and "4.0.conv1.weight" in backbone:
            backbone = {_renumber(name): tensor for name, tensor in backbone.items()}
        backbone = {n: t for n, t in backbone.items() if re.match(r"(conv1|bn1|layer\d)\.", n)}
        if "conv1.weight" in backbone and "layer1.0.conv1.weight" in backbone:
            projector = _below(trainer.projector, weights) if trainer.projector else {}
            predictor = _below(trainer.predictor, weights) if trainer.predictor else {}
            if trainer.predictor and not predictor:
                continue
            return Found(trainer.name, backbone, projector, predictor)
    return None


def _below(prefix: str, weights: Weights) -> Weights:
    return {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}


def _renumber(name: str) -> str:
    number, _, rest = name.partition(".")
    return f"{_NUMBERED.get(number, number)}.{rest}"


def to_reference(model: Weights) -> Weights:
    """Our names of a whole SimSiam → the reference's."""
    renamed = {}
    for name, tensor in model.items():
        for ours, theirs in (*_HEADS.items(), _BACKBONE):
            if name.startswith(ours):
                renamed[theirs + name.removeprefix(ours)] = tensor
    assert len(renamed) == len(model), "a method with other parts"
    return renamed


def to_detectron2(backbone: Weights) -> dict[str, Any]:
    """Our names of a backbone → Detectron2's, as NumPy arrays: what its files hold under `model`.

    layerN → res(N+1), bnK → convK.norm, downsample → shortcut; the stem is told apart.
    """
    return {_detectron2_name(name): tensor.numpy() for name, tensor in backbone.items()}


def _detectron2_name(name: str) -> str:
    if not name.startswith("layer"):
        name = f"stem.{name}"
    name = re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)\b", r"conv\1.norm", name)
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def list_parameters(model: Weights) -> list[str]:
    """Names of the parameters in the order in which the reference's optimiser counts them: the
    backbone, the projector, the predictor; BatchNorm's buffers are none.
    """
    names = [name for name in model if name.rpartition(".")[2] not in _BUFFERS]
    places = ("backbone.", "projector.", "predictor.")
    return [name for place in places for name in names if name.startswith(place)]
