"""The sections `data` and `loader` of a configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, ConfigDict

from .engines import ENGINES, choose
from .sources.torchvision_spec import absolute_data

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[("auto", *ENGINES)]


def _absolute_text(path: str) -> str:
    return str(absolute_data(path)) if path else path


_DataText = Annotated[str, AfterValidator(_absolute_text)]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The section `data` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    path: _DataText | None = None
    """Training pictures: a folder of class folders, a flat folder, a .beton file and so on (see
    docs/formats.md), or the name of a torchvision data set (torchvision:NAME,root=DIR)."""
    val_path: _DataText | None = None
    """Labelled pictures for kNN during training; the same folder as `path`: a fifth of its pictures
    ask and the others vote; null: no kNN."""
    limit: Annotated[int, Ge(1), Le(2**40)] | None = None
    """Train on so many pictures only, a fixed random choice of the seed; null: all."""
    num_workers: Annotated[int, Ge(0), Le(1024)] | None = None
    """Worker processes or threads of the training loader; null: by the machine."""
    max_bad_samples: Annotated[int, Ge(0), Le(2**40)] = 0
    """How many different samples may fail to decode (each replaced by its neighbour in the
    listing) before the run ends; 0: the first one ends it."""
    on_change: Literal["refuse", "continue"] = "refuse"
    """When a run is resumed and the pictures are not those that it was begun with. continue: at the
    same place in the schedule, epochs and learning rate as planned."""


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """The section `loader` of a configuration."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    engine: EngineName = "auto"
    """What reads and decodes; auto: by data format, device and what is installed. synthetic: noise,
    for measuring the step alone."""


def choose_engine(config: LoaderConfig, *, formats: Iterable[str], device: str) -> tuple[str, str]:
    """The engine to use and, in words, why; see `engines.choose`."""
    if config.engine != "auto":
        return config.engine, "asked for by loader.engine"
    return choose(formats, device)
