"""Weights with what is known of them: from a run, a checkpoint, an export, or another trainer."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...model.backbones import build_backbone
from ...model.libraries import check_sizes, is_by_name
from ...model.method import ModelConfig
from ...pipeline.errors import UserError
from ..checkpoint import find_checkpoint, is_checkpoint, load_checkpoint
from ..config import Config, parse_config, replace
from ..resume import read_run_config
from .foreign import read_foreign, read_safetensors
from .layouts import Weights
from .recognise import check_backbone_fits, recognise_backbone, recognise_model

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ACCEPTED = "a run folder or its stepN.pt; an export; another trainer's checkpoint"
"""What `load_trained` takes, for `--help`."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A backbone that was trained somewhere."""

    path: Path
    """Of the file."""
    config: Config
    """The run's; of weights that tell nothing more, the network and the views it was made for."""
    backbone: Weights
    """By torchvision's names; those of timm/NAME by timm's."""
    state: dict[str, Any]
    """The checkpoint of ours; else empty."""
    run: Path | None = None
    """Its run folder."""

    @property
    def step(self) -> int | None:
        """Of the run; None: unknown."""
        return None if self.run is None or "imported" in self.state else self.state["step"]

    def build(self) -> nn.Module:
        """The backbone with these weights, on the CPU, in eval mode.

        Raises:
            UserError: it takes no views of the configuration's size.
        """
        try:
            check_sizes(self.config.model.backbone, [self.config.augment.size])
        except ValueError as error:
            raise UserError(str(error)) from None
        network, _ = build_backbone(self.config.model.backbone)
        network.load_state_dict(self.backbone)
        return network.eval()

    def build_untrained(self) -> nn.Module:
        """The backbone as the run began with it."""
        torch.manual_seed(self.config.train.seed)
        network, _ = build_backbone(self.config.model.backbone)
        return network.eval()


def load_trained(path: Path) -> Trained:
    """Weights to be evaluated or handed on.

    Args:
        path: a run folder or a checkpoint of it; what `swiftsiam export` wrote; or a checkpoint
            of another trainer, of which the backbone is a known ResNet.

    Raises:
        UserError: it is none of them, is damaged, or holds more than data.
    """
    if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        return _load_export(path)
    file = find_checkpoint(path)
    if is_checkpoint(file):
        return _load_own(file)
    found = read_foreign(file).found
    return _guess(file, found.backbone, recognise_model(found, file))


def _load_own(file: Path) -> Trained:
    run = file.parent.parent
    state = load_checkpoint(file)
    config = read_run_config(run, [], field=f"CKPT={file}: its run folder").config
    prefix = "backbone."
    model = state["model"]
    backbone = {n.removeprefix(prefix): t for n, t in model.items() if n.startswith(prefix)}
    if is_by_name(config.model.backbone):
        check_backbone_fits(backbone, config.model.backbone, file)
    elif (found := recognise_backbone(backbone, file)) != config.model.backbone:
        raise UserError(
            f"{file}: its weights are of {found}, and do not fit "
            f"model.backbone={config.model.backbone} of the run's config.yaml"
        )
    return Trained(path=file, config=config, backbone=backbone, state=state, run=run)


def _load_export(folder: Path) -> Trained:
    """What `export --to huggingface` wrote; of another's folder, the weights tell the network."""
    file = folder / WEIGHTS
    told, name = _read_told(folder / CONFIG)
    if is_by_name(name):
        weights = read_safetensors(file)
        config = parse_config({"augment": told.get("augment", {}), "model": {"backbone": name}}, [])
        check_backbone_fits(weights, name, file)
        return Trained(path=file, config=config, backbone=weights, state={})
    found = read_foreign(file).found
    model = recognise_model(found, file)
    if not told:
        return _guess(file, found.backbone, model)
    config = parse_config({"augment": told.get("augment", {})}, [])
    config = dataclasses.replace(config, model=model)
    return Trained(path=file, config=config, backbone=found.backbone, state={})


def _read_told(path: Path) -> tuple[dict[str, Any], str]:
    """What an export of ours says of itself, and its backbone; of another's, nothing."""
    try:
        told = json.loads(path.read_text()).get("swiftsiam", {})
        return told, str(told.get("model", {}).get("backbone", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def _guess(path: Path, backbone: Weights, model: ModelConfig) -> Trained:
    return Trained(path=path, config=guess_config(model, backbone), backbone=backbone, state={})


def guess_config(model: ModelConfig, backbone: Weights) -> Config:
    """With the views of the data set that the network was made for, as far as its stem tells."""
    config = dataclasses.replace(Config(), model=model)
    if backbone["conv1.weight"].shape[-1] == 3:
        return replace(config, augment={"preset": "cifar", "size": 32})
    return config
