"""The configuration: a frozen dataclass for each section, from YAML and `section.key=value`."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import yaml
from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ..model import METHODS
from ..model.method import ModelConfig, config_class
from ..pipeline.augment.spec import AugmentConfig
from ..pipeline.config import DataConfig, LoaderConfig
from ..pipeline.errors import UserError
from ..pipeline.files import PathText
from .evaluation.knn import EvalConfig
from .model_config import AnyModelConfig
from .optim import OptimConfig
from .recipes import did_you_mean, read_values


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The section `train` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    epochs: Annotated[int, Ge(1), Le(1_000_000)] = 100
    """Passes over the training data."""
    batch_size: Annotated[int, Ge(2), Le(1_000_000)] = 512
    """Pictures a step, over all processes (global)."""
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0
    """Of the weights, the order and the views."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: cuda where there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the forward pass under autocast; auto: bf16 where the hardware has it."""
    channels_last: bool = True
    """Memory format of weights and views."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of the model; auto: on for cuda."""
    tf32: bool = True
    """On a GPU, float32 products with 10 bits of mantissa; false: with all 23."""
    cuda_graph: Literal["on", "off"] = "off"
    """On one GPU, the whole step as one CUDA graph."""
    sync_batch_norm: bool = True
    """Several processes: BatchNorm's statistics are those of all of them together."""
    compress_gradients: Literal["off", "bf16"] = "off"
    """Several processes: what gradients are sent as; bf16 halves the traffic and rounds them."""
    timeout_s: Annotated[float, Ge(1), Le(1e6)] = 600.0
    """Several processes: how long one waits for another before it gives up, s."""
    num_threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """Threads of the training step on a CPU; null: all cores. Another number gives other bits."""
    on_collapse: Literal["stop", "warn", "off"] = "stop"
    """When all projections become one: stop, or say so and go on, or do not look."""
    log_every_s: Annotated[float, Gt(0), Le(1e6)] = 10.0
    """How often a terminal-less run prints a line, s. Metrics do not depend on it."""
    log_every: Annotated[int, Ge(1), Le(1_000_000)] = 10
    """Steps between two records in metrics.jsonl."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The section `run` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    dir: PathText | None = None
    """The run folder; null: runs/<config>, with a number where that is taken."""
    checkpoint_every_s: Annotated[float, Ge(0), Le(1e9)] = 120.0
    """Seconds between checkpoints within an epoch; each epoch's end saves one as well."""
    keep_checkpoints: Annotated[int, Ge(1), Le(100_000)] = 2
    """How many checkpoints stay."""
    keep_best: bool = True
    """Keep the checkpoint with the best kNN as well, as checkpoints/best.pt."""
    tensorboard: bool = False
    """Write event files for TensorBoard into the run folder as well."""
    wandb: str | None = None
    """Send the figures to this project of Weights & Biases as well; null: no."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """All sections."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    data: DataConfig = field(default_factory=DataConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: AnyModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    run: RunConfig = field(default_factory=RunConfig)


def read_config(name: str, overrides: list[str] | None = None) -> Config:
    """A recipe by name or a YAML file, with `section.key=value` laid over it.

    Raises:
        UserError: unknown recipe, key or value; names the nearest known one.
    """
    return parse_config(read_values(name), overrides or [])


def parse_config(values: dict[str, Any], overrides: list[str]) -> Config:
    """Check values and overrides and make the typed configuration of them."""
    values = {name: dict(section) for name, section in _sections(values).items()}
    for override in overrides:
        section, key, value = split_override(override)
        values.setdefault(section, {})[key] = value
    try:
        return TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        raise UserError(_explain(error)) from None


def replace(config: Config, **sections: dict[str, Any]) -> Config:
    """A copy with some keys of some sections set."""
    changed = {
        name: dataclasses.replace(getattr(config, name), **values)
        for name, values in sections.items()
    }
    return dataclasses.replace(config, **changed)


def to_yaml(config: Config) -> str:
    """All sections and keys, readable by `read_config`."""
    return yaml.safe_dump(to_plain(config), sort_keys=False)


def to_plain(config: Config) -> dict[str, dict[str, Any]]:
    """All sections and keys, as JSON and YAML have values."""
    return TypeAdapter(Config).dump_python(config, mode="json")


def split_override(override: str) -> tuple[str, str, Any]:
    """`section.key=value` → its parts. The value stays text for the typed field to read."""
    name, equals, text = override.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and key):
        raise UserError(
            f"{override!r}: overrides have the form section.key=value"
            f"{did_you_mean(name.rpartition('.')[2], _known_keys())}"
        )
    if text in ("null", "none", "None"):
        return section, key, None
    return section, key, text


def _sections(values: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(values, dict):
        raise UserError(f"configuration: must be sections of key: value, not {values!r:.60}")
    for name, section in values.items():
        if section is None:
            values = values | {name: {}}
        elif not isinstance(section, dict):
            raise UserError(
                f"{name}={section!r:.60}: keys stand in sections, as section.key"
                f"{did_you_mean(str(name), _known_keys())}"
            )
    return values


def _known_keys() -> list[str]:
    return [
        f"{section.name}.{key.name}"
        for section in dataclasses.fields(Config)
        for owner in section_types(section.name)
        for key in dataclasses.fields(owner)
    ]


def section_types(name: str) -> list[Any]:
    """The dataclasses that may stand for a section: of `model` one for each method."""
    if name == "model":
        return [config_class(method) for method in METHODS]
    (section,) = (f for f in dataclasses.fields(Config) if f.name == name)
    return [section.type]


def _has_key(owner: Any, name: str) -> bool:
    return name in (key.name for key in dataclasses.fields(owner))


def _explain(error: ValidationError) -> str:
    """The first error in one line: field, value, remedy."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    method = place.pop(1) if place[0] == "model" and len(place) > 1 else ""
    field_name = ".".join(place[:2])
    if first["type"] == "unexpected_keyword_argument":
        owners = [name for name in METHODS if _has_key(config_class(name), place[-1])]
        if method and owners:
            return (
                f"{field_name}: no key of model.method={method}, but of {', '.join(owners)}; set "
                "model.method to that, or leave the key out"
            )
        nearest = did_you_mean(field_name, _known_keys())
        if len(place) == 1:
            nearest = (
                nearest or f"; sections: {', '.join(f.name for f in dataclasses.fields(Config))}"
            )
        return f"{field_name}: no such key{nearest}"
    if first["type"] == "value_error":  # our own, of a path
        return f"{field_name}={first.get('ctx', {}).get('error')}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{field_name}={first['input']!r:.80}: {message}"
