"""The table of engines: which there are, what each needs, and which one is used.

Everything that asks which engines exist reads it here. It is data: no engine, and no library of
one, is imported by it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from ..errors import UserError

if TYPE_CHECKING:
    from ..contract import Engine, EngineOptions


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that an engine cannot do without."""

    name: str
    """As people call it."""
    module: str
    """Python's; or of the pipeline one that loads a library: has `load_library()`."""
    remedy: str
    """The command that installs it."""
    packages: tuple[tuple[str, str], ...] = ()
    """How pip's names of it begin, and what each is called: where it comes in several."""

    def check(self, engine: str) -> None:
        """Look for it. Imports nothing of it; whether it works, `doctor` finds out.

        Raises:
            UserError: it is not installed.
        """
        if self.module.startswith("."):
            import_module(self.module, __package__).load_library()
            return
        package = self.module.partition(".")[0]
        if find_spec(package) is None or find_spec(self.module) is None:
            raise UserError(
                f"loader.engine={engine}: needs {self.name}, which is not installed; "
                f"{self.remedy}, or set loader.engine=auto"
            )

    def is_met(self) -> bool:
        """Whether it is installed."""
        try:
            self.check("")
        except UserError:
            return False
        return True


TURBOJPEG = Need(
    name="libturbojpeg",
    module="..turbojpeg",
    remedy="sudo apt-get install -y libturbojpeg0-dev",
)
FFCV = Need(
    name="FFCV",
    module="ffcv",
    remedy="sudo apt-get install -y libopencv-dev libturbojpeg0-dev pkg-config && make setup",
)
DALI = Need(
    name="DALI",
    module="nvidia.dali",
    remedy="pip install nvidia-dali-cuda130 (x86-64 Linux; nvidia-dali-cuda120 for older drivers)",
    packages=(("nvidia-dali-", "DALI"), ("nvidia-nvimgcodec-", "nvImageCodec")),
)


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """One row of the table."""

    module: str
    """Has `build(options) -> contract.Engine`; imported on use."""
    work: str
    """What it does, in words."""
    workers: Literal["processes", "threads", "none"]
    """What `num_workers` counts."""
    needs: tuple[Need, ...] = ()
    """Without these it is not offered."""
    needs_for_beton: tuple[Need, ...] = ()
    """Without these it reads no betons."""
    gpu_trial: str | None = None
    """Given crops to make, it decodes and crops on a GPU; whether that works there, this module
    finds out: has `try_decoding(device) -> (works, detail)`."""
    decodes_uncounted: bool = False
    """Decoding is done by threads of a library, whose time `stages` does not have."""
    reads_pictures: bool = True
    """False: its views are of no picture, and never chosen unless asked for by name."""

    def missing(self, formats: Iterable[str] = ()) -> list[Need]:
        """What it needs for these formats, of `sources.recognise`, and does not have."""
        needs = self.needs + (self.needs_for_beton if "beton" in formats else ())
        return [need for need in needs if not need.is_met()]


ENGINES: dict[str, EngineInfo] = {
    "torchvision": EngineInfo(
        module=".torchvision_engine",
        work="libjpeg-turbo or Pillow decodes, numba kernel, processes",
        workers="processes",
    ),
    "ffcv": EngineInfo(
        module=".ffcv.engine",
        work="libjpeg-turbo decodes, once for both views, numba kernel, compiled threads",
        workers="threads",
        needs=(TURBOJPEG,),
        needs_for_beton=(FFCV,),
    ),
    "dali": EngineInfo(
        module=".dali.engine",
        work="DALI decodes, numba kernel, threads",
        workers="threads",
        needs=(DALI,),
        gpu_trial=".dali.trial",
        decodes_uncounted=True,
    ),
    "synthetic": EngineInfo(
        module=".synthetic_engine",
        work="noise that lies on the device: the ceiling of any loader",
        workers="none",
        reads_pictures=False,
    ),
}
"""By name, as `loader.engine` has it."""

RESIDENT = "resident"
"""Name of the engine that `loader.resident` puts in place of them: it makes crops alone."""

_BUILT = ENGINES | {
    RESIDENT: EngineInfo(
        module=".resident_engine",
        work="decoded once, pictures lie on the GPU and are cropped there",
        workers="threads",
    )
}


def installed(*, reads_pictures: bool = True) -> list[str]:
    """Names of the engines that can be used here, those of the kind."""
    return [
        name
        for name, info in ENGINES.items()
        if info.reads_pictures is reads_pictures and not info.missing()
    ]


def choose(formats: Iterable[str], device: str) -> tuple[str, str]:
    """The engine to use where none is asked for and, in words, why.

    Args:
        formats: of the data, see `sources.recognise`.
        device: cpu or cuda, where the step runs. On either the ffcv engine is the fastest that has
            been measured; DALI's decoding on a GPU has not been.
    """
    formats = set(formats)
    lacking = ENGINES["ffcv"].missing(formats)
    if not lacking:
        by = "FFCV reads the beton" if "beton" in formats else "libturbojpeg decodes"
        return "ffcv", f"loader.engine=auto: the fastest measured; {by}, in threads"
    without = f"{', '.join(need.name for need in lacking)} not installed (swiftsiam doctor)"
    if "beton" not in formats and not ENGINES["dali"].missing():
        place = "the GPU" if device == "cuda" else "this CPU"
        return "dali", f"loader.engine=auto: DALI decodes on {place}; {without}"
    return "torchvision", f"loader.engine=auto: needs nothing else; {without}"


def build(name: str, options: "EngineOptions") -> "Engine":
    """The engine of this name, which is imported by it.

    Raises:
        UserError: there is no such engine, or something that it needs is missing or cannot do this.
    """
    if name not in _BUILT:
        raise UserError(f"loader.engine={name}: no such engine; one of {', '.join(ENGINES)}")
    for need in _BUILT[name].needs:
        need.check(name)
    return import_module(_BUILT[name].module, __package__).build(options)
