"""What is asked of trained weights, and the protocol that answers it.

- linear, LARS: the reference implementation's, 0.1 × batch/256, 4,096 pictures, 90 epochs, cosine
  moved each epoch, no weight decay, crop and flip. (The paper's text has 0.02; with 0.1 others
  reproduce its figure.)
- linear, SGD: the same with 30 × batch/256 and 256 pictures.
- fast: rates swept over cached features; see `sweep`.
- fine-tuning: SwAV's semi-supervised one (Caron et al., NeurIPS 2020): 20 epochs of 256 pictures,
  rates of backbone and head of 0.02 and 5 for 1 % of the labels, 0.01 and 0.2 for more.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from ...pipeline.errors import UserError
from ...pipeline.files import write_atomically
from ...pipeline.order import choose_indices
from ...pipeline.sources import Source, recognise
from ..config import Config, parse_config, to_plain
from ..run import CONFIG
from ..weights.trained import Trained
from .encoder import RawPixels

_IDENTITY = "asked.json"
_FEW_LABELS = 1.0  # percent: SwAV's rates are given for 1 and for 10


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of the weights."""

    train: str
    val: str
    optimizer: Literal["lars", "sgd", "fast"] = "lars"
    """fast: a sweep over cached features instead; see `sweep`."""
    labels: float = 100.0
    """Percent of each class that is trained on."""
    finetune: bool = False
    features: Literal["trained", "untrained", "pixels"] = "trained"
    """Of the checkpoint; or a floor: of the network before training, or the pixels themselves."""

    @property
    def name(self) -> str:
        """Of a folder for its results."""
        kind = "finetune" if self.finetune else f"linear-{self.optimizer}"
        kind = kind if self.features == "trained" else f"{kind}-of-{self.features}"
        return kind if self.labels == 100 else f"{kind}-{self.labels:g}-percent"

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Its protocol as a configuration has it."""
        optim: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.0, "warmup_epochs": 0}
        train: dict[str, Any] = {"on_collapse": "off"}
        if self.finetune:
            rate, _ = self._finetuning_rates
            optim |= {"optimizer": "sgd", "base_lr": rate, "schedule": "step"}
            train |= {"epochs": 20, "batch_size": 256}
        elif self.optimizer == "lars":
            optim |= {"optimizer": "lars", "base_lr": 0.1, "schedule": "epoch"}
            train |= {"epochs": 90, "batch_size": 4096}
        elif self.optimizer == "fast":
            train |= {"epochs": 30, "batch_size": 1024}
        else:
            optim |= {"optimizer": "sgd", "base_lr": 30.0, "schedule": "epoch"}
            train |= {"epochs": 90, "batch_size": 256}
        return {"optim": optim, "train": train}

    @property
    def head_scale(self) -> float | None:
        """See `Probe`."""
        if not self.finetune:
            return None
        rate, head = self._finetuning_rates
        return head / rate

    @property
    def _finetuning_rates(self) -> tuple[float, float]:
        return (0.02, 5.0) if self.labels <= _FEW_LABELS else (0.01, 0.2)


def configure(trained: Trained, asked: Asked, overrides: list[str], *, out: str) -> Config:
    """The configuration of the run that answers it.

    Raises:
        UserError: an override is wrong, or there are no pictures.
    """
    for name, path in (("TRAIN", asked.train), ("VAL", asked.val)):
        recognise(path, field=name)  # told under the name that the command line has for it
    own, settings = to_plain(trained.config), asked.settings
    # The run's own, so that `data.limit` means the pictures that it was trained on.
    settings["train"]["seed"] = trained.config.train.seed
    values = {
        "data": {"path": asked.train, "val_path": asked.val},
        "augment": own["augment"],
        "model": own["model"],
        "run": {"dir": out, "keep_best": False, "keep_checkpoints": 1},
        **settings,
    }
    return parse_config(values, overrides)


def choose_pictures(asked: Asked, config: Config, source: Source) -> np.ndarray:
    """(M,) int64, sorted: what is trained on: a share of each class of `data.limit` pictures, which
    are those that a run of the same seed and limit was trained on.
    """
    seed = config.train.seed
    allowed = choose_indices(len(source), limit=config.data.limit, seed=seed)
    labels = np.full(len(source), -1)
    labels[allowed] = np.asarray(source.labels)[allowed]
    return choose_labelled(labels, percent=asked.labels, seed=seed)


def choose_labelled(labels: np.ndarray, *, percent: float, seed: int) -> np.ndarray:
    """(M,) int64, sorted: a fixed random choice of so many percent of each class, one at least.

    Args:
        labels: (N,) classes of all pictures; those without one, -1, are left out.
        percent: of each class.
        seed: of the choice, of which a smaller one is a part.
    """
    chosen = []
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        count = max(round(len(members) * percent / 100), 1)
        chosen.append(members[choose_indices(len(members), limit=count, seed=seed + int(label))])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def build_features(trained: Trained, kind: str) -> nn.Module:
    """The network whose features are asked for, in eval mode; see `Asked`."""
    if kind == "pixels":
        return RawPixels().eval()
    return trained.build() if kind == "trained" else trained.build_untrained()


def write_identity(out: Path, identity: dict[str, Any]) -> None:
    """Say what the results in a folder answer."""
    write_atomically(out / _IDENTITY, json.dumps(identity, indent=2).encode() + b"\n")


def check_identity(out: Path, identity: dict[str, Any]) -> None:
    """Refuse to go on in a folder with what answers another question.

    Raises:
        UserError: names what differs.
    """
    try:
        before = json.loads((out / _IDENTITY).read_text())
    except FileNotFoundError:
        if (out / CONFIG).exists():
            raise UserError(
                f"--out={out}: is the folder of another run, or of one that was killed as it "
                "began; choose another --out"
            ) from None
        return
    except (OSError, ValueError) as error:
        raise UserError(f"--out={out}: its {_IDENTITY} cannot be read ({error})") from None
    for name, value in identity.items():
        if before.get(name) != value:
            raise UserError(
                f"--out={out}: holds results for {name}={before.get(name)}, not {value}; choose "
                "another --out"
            )
