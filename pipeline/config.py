"""The sections `data` and `loader` of a configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, ConfigDict

from .decoder_options import DecoderOptions
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
    stall_s: Annotated[float, Gt(0), Le(1e9)] = 120.0
    """Seconds without a batch after which the run ends and names the pictures that are waited for,
    as when a disk no longer answers. The first batch has five times as long."""
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
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where colours, blur and flip are made; gpu: by a kernel beside the step, from crops of 8
    bits, and there the dali engine decodes as well. auto: by cores a GPU and engine; says why."""
    resident: Literal["auto", "on", "off"] = "auto"
    """Whether the pictures lie decoded on the GPU, and are cropped there: small sets then need no
    CPU. auto: where they take a tenth of its memory at most; says why."""
    hw_decoder_load: Annotated[float, Ge(0), Le(1)] = 0.65
    """Share of the JPEGs that the dali engine leaves to a GPU's hardware decoder. 0.65 is DALI's
    own; known bests are 0.75 (A100) and 0.90 (H100: 2 % faster, with longer tails)."""
    decoder_threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """DALI's own threads; null: data.num_workers. On a GPU its decoder starts as many again."""
    decoder_batch: Annotated[int, Ge(1), Le(65536)] | None = None
    """Pictures that DALI decodes at a time; null: 32, and 128 on a GPU, whose decoders work in
    parallel."""
    decoder_queue: Annotated[int, Ge(1), Le(16)] = 2
    """Such batches under way in DALI: one is decoded while another is finished."""
    decoder_side: Annotated[int, Ge(0), Le(65535)] = 1024
    """DALI's buffers on a GPU are allocated for pictures of so many px a side at once; they grow
    for larger ones, at a cost, and never shrink. 0: none."""

    def decoder_options(self) -> DecoderOptions:
        """What the dali engine is told of them."""
        return DecoderOptions(
            hw_load=self.hw_decoder_load,
            num_threads=self.decoder_threads,
            batch_size=self.decoder_batch,
            queue=self.decoder_queue,
            side=self.decoder_side,
        )


def choose_engine(config: LoaderConfig, *, formats: Iterable[str], device: str) -> tuple[str, str]:
    """The engine to use and, in words, why; see `engines.choose`."""
    if config.engine != "auto":
        return config.engine, "asked for by loader.engine"
    return choose(formats, device)
