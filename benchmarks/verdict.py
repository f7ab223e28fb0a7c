"""What limits, in words, and what each remedy would give: arithmetic on measured figures.

The model: images pass the step, the loader and the cores, and no faster than the slowest of the
three lets them. The step has its rate on a cached batch. The loader has its own, alone on the
machine; a change to one of its stages moves that rate as it moves the workers' time for an image.
The cores have what is left when the core time of both is added up: on a CPU, where the step needs
them itself, that is the bound that counts. Nothing is fitted; what end-to-end is below the lowest
bound is unexplained, and told as that.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from .neighbours import MOST_OTHERS
from .results import Record, Surroundings
from .smaller import Smaller

MUCH = 0.9
"""Of the lowest bound: below, something is unexplained."""
_WORTH = 1.03  # a gain that is told
_MOST_REMEDIES = 4
_MUCH_READING = 0.1  # of the loader's time

PARTS = {
    "step": "the training step",
    "read": "reading",
    "decode": "decoding",
    "views": "making the views",
    "copy": "copying batches",
    "rest": "what is around the stages",
}
"""What can limit, by name; the views are the stages crop and colour together."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured, of one machine, one data set and one configuration."""

    cores: int
    num_workers: int
    loader_rate: float
    """Images/s of the loader alone."""
    loader_core_ms: float
    """An image."""
    stages: dict[str, float]
    """Workers' time, ms an image, by the names of `pipeline.stages`, and `rest`."""
    step_rate: float = math.inf
    """Images/s on a cached batch; infinite: the loader alone is judged."""
    step_core_ms: float = 0.0
    end_to_end_rate: float | None = None
    """Images/s."""
    end_to_end_core_ms: float | None = None
    """An image, of step and loader at work together."""
    is_gpu: bool = False
    makes_views_on_gpu: bool = False
    data: str = "DATA"
    """For commands."""
    smaller: Smaller | None = None
    """What `convert --max-side 256` would make of them; None: they are small."""

    def part(self, name: str) -> float:
        """ms an image of one of the loader's PARTS."""
        if name == "views":
            return self.stages.get("crop", 0.0) + self.stages.get("colour", 0.0)
        return self.stages.get(name, 0.0)

    @property
    def loader_ms(self) -> float:
        """Workers' time, ms an image."""
        return sum(self.stages.values())

    def without(self, **shares: float) -> "Figures":
        """With only these shares of some stages left."""
        stages = {name: ms * shares.get(name, 1.0) for name, ms in self.stages.items()}
        saved = self.loader_ms - sum(stages.values())
        # Of reading, a worker may have waited for a part; no stage costs more than the core time.
        core_ms = max(self.loader_core_ms - saved, 0.0)
        if "read" in shares:
            core_ms = max(core_ms, min(self.loader_core_ms, sum(stages.values())))
        rate = self.loader_rate * self.loader_ms / max(sum(stages.values()), 1e-9)
        return replace(self, stages=stages, loader_core_ms=core_ms, loader_rate=rate)


class Remedy(NamedTuple):
    """Something to change."""

    text: str
    gain: float
    """Predicted: how many times as many images per second."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What limits, and what helps."""

    limit: str
    """One of PARTS."""
    share_percent: float
    """That it has: of the loader's time, or of the cores'."""
    bounds: dict[str, float]
    """Images/s that the step, the loader and the cores allow."""
    efficiency_percent: float | None
    """End-to-end over the lowest bound; None: not measured."""
    crowding_percent: float
    """Where the cores are the lowest bound: of the core time that step and loader take together,
    what they do not take alone. Caches and sibling threads are shared, too."""
    cores_to_feed: int
    """Cores that a step which waits for nothing needs, its own core time included; 0: no step."""
    remedies: tuple[Remedy, ...]
    lines: tuple[str, ...]
    """All of it, in words."""

    @property
    def unexplained_percent(self) -> float:
        """What end-to-end is below the lowest bound, where that is much."""
        efficiency = 100.0 if self.efficiency_percent is None else self.efficiency_percent
        if efficiency >= 100 * MUCH:
            return 0.0
        return max(100 - efficiency - self.crowding_percent, 0.0)


def bounds(figures: Figures) -> dict[str, float]:
    """Images/s that each allows."""
    core_ms = figures.step_core_ms + figures.loader_core_ms
    return {
        "step": figures.step_rate,
        "loader": figures.loader_rate,
        "cores": 1000 * figures.cores / core_ms if core_ms else math.inf,
    }


def judge(figures: Figures) -> Verdict:
    """The verdict on these figures."""
    found = bounds(figures)
    lowest = min(found.values())
    limit, share = _find_limit(figures)
    efficiency = None
    if figures.end_to_end_rate is not None:
        efficiency = 100 * figures.end_to_end_rate / lowest
    feeding = (figures.step_core_ms + figures.loader_core_ms) * figures.step_rate / 1000
    verdict = Verdict(
        limit=limit,
        share_percent=100 * share,
        bounds=found,
        efficiency_percent=efficiency,
        crowding_percent=_find_crowding(figures),
        cores_to_feed=math.ceil(feeding) if math.isfinite(feeding) else 0,
        remedies=tuple(_find_remedies(figures)),
        lines=(),
    )
    return replace(verdict, lines=tuple(_tell(verdict, figures)))


def _find_crowding(figures: Figures) -> float:
    found = bounds(figures)
    together = figures.end_to_end_core_ms
    if together is None or found["cores"] > min(found.values()):
        return 0.0
    return max(100 * (1 - (figures.step_core_ms + figures.loader_core_ms) / together), 0.0)


def _find_limit(figures: Figures) -> tuple[str, float]:
    """A part, and its share of what is short."""
    found = bounds(figures)
    scarce = min(found, key=lambda name: found[name])
    costs = {name: figures.part(name) for name in PARTS if name != "step"}
    if scarce == "step":
        return "step", 1.0
    if scarce == "cores":
        # A worker that waits for a disk leaves its core to others.
        costs["read"] = min(costs["read"], figures.loader_core_ms)
        costs["step"] = figures.step_core_ms
    limit = max(costs, key=lambda name: costs[name])
    return limit, costs[limit] / max(sum(costs.values()), 1e-9)


def _find_remedies(figures: Figures) -> list[Remedy]:
    """Those that help, the best first."""
    now = min(bounds(figures).values())
    found = []
    for propose in _PROPOSALS:
        for text, changed in propose(figures):
            gain = min(bounds(changed).values()) / now
            if gain >= _WORTH:
                found.append(Remedy(text, gain))
    return sorted(found, key=lambda remedy: -remedy.gain)[:_MOST_REMEDIES]


Proposal = Iterator[tuple[str, Figures]]


def _more_workers(figures: Figures) -> Proposal:
    most = max(figures.cores - 1, 1) if figures.is_gpu else figures.cores
    if 0 < figures.num_workers < most:
        rate = figures.loader_rate * most / figures.num_workers
        yield f"data.num_workers={most}", replace(figures, loader_rate=rate, num_workers=most)


def _more_cores(figures: Figures) -> Proposal:
    if not figures.is_gpu or not math.isfinite(figures.step_rate):
        return
    needed = (figures.step_core_ms + figures.loader_core_ms) * figures.step_rate / 1000
    missing = math.ceil(needed) - figures.cores
    if missing > 0:
        cores = figures.cores + missing
        rate = max(figures.step_rate, figures.loader_rate)
        word = "core" if missing == 1 else "cores"
        text = f"{missing} more {word} for loading, which would feed this GPU"
        yield text, replace(figures, cores=cores, loader_rate=rate)


def _smaller_pictures(figures: Figures) -> Proposal:
    convert = f"swiftsiam convert {figures.data} SMALL.beton --to beton"
    if figures.smaller is not None:
        small = figures.without(decode=figures.smaller.decode, crop=figures.smaller.crop)
        yield f"{convert} --max-side 256", small
    if figures.part("decode"):
        side = " --max-side 256" if figures.smaller is not None else ""
        crop = figures.smaller.crop if figures.smaller is not None else 1.0
        raw = figures.without(decode=0.0, crop=crop)
        yield f"{convert} --mode raw{side} (larger on disk)", raw


def _faster_reading(figures: Figures) -> Proposal:
    if figures.part("read") > _MUCH_READING * figures.loader_ms:
        text = "a faster disk, or one large file or shards in place of small files, at most"
        yield text, figures.without(read=0.0)


def _views_on_gpu(figures: Figures) -> Proposal:
    if figures.is_gpu and not figures.makes_views_on_gpu:
        yield "loader.device=gpu (colours and blur beside the step)", figures.without(colour=0.0)


_PROPOSALS: tuple[Callable[[Figures], Proposal], ...] = (
    _more_workers,
    _more_cores,
    _smaller_pictures,
    _faster_reading,
    _views_on_gpu,
)


def _tell(verdict: Verdict, figures: Figures) -> Iterator[str]:
    rates = [
        f"{name} {rate:,.0f}"
        for name, rate in verdict.bounds.items()
        if math.isfinite(rate) and not (name == "cores" and not math.isfinite(figures.step_rate))
    ]
    yield f"limited by {PARTS[verdict.limit]}{_tell_share(verdict)}"
    if len(rates) > 1:
        yield f"images/s that each allows: {', '.join(rates)}"
    if verdict.efficiency_percent is not None:
        assert figures.end_to_end_rate is not None
        text = (
            f"end-to-end {figures.end_to_end_rate:,.0f} images/s, "
            f"{verdict.efficiency_percent:.0f} % of the lowest bound"
        )
        if verdict.efficiency_percent < 100 * MUCH:
            causes = [f"{verdict.unexplained_percent:.0f} % are unexplained"]
            if verdict.crowding_percent >= 1:
                crowding = (
                    f"{verdict.crowding_percent:.0f} % since both together take more core time"
                )
                causes.insert(0, f"{crowding} than each alone (caches, sibling threads)")
            text += f": {', '.join(causes)}"
        yield text
    if verdict.cores_to_feed and figures.is_gpu:
        yield f"{verdict.cores_to_feed} cores would keep this GPU busy (now {figures.cores})"
    for remedy in verdict.remedies:
        yield f"predicted {remedy.gain:.2f} x: {remedy.text}"
    if not verdict.remedies:
        yield _tell_no_remedy(verdict, figures)


def _tell_share(verdict: Verdict) -> str:
    scarce = min(verdict.bounds, key=lambda name: verdict.bounds[name])
    if scarce == "step":
        return ": the loader waits for it"
    has_step = math.isfinite(verdict.bounds["step"])
    whose = "the cores'" if scarce == "cores" and has_step else "the loader's"
    return f": {verdict.share_percent:.0f} % of {whose} time"


def _tell_no_remedy(verdict: Verdict, figures: Figures) -> str:
    if verdict.limit == "step":
        return "the loader could not make it faster; swiftsiam bench step says what its lanes gain"
    if figures.num_workers >= figures.cores:
        return "all cores are at work: more of them are needed"
    return "no remedy is known that would help much"


def as_record(verdict: Verdict, *, data: str) -> Record:
    """The verdict, for a results file, in which `data`, a place on this machine, is DATA."""
    remedies = [(text.replace(data, "DATA"), gain) for text, gain in verdict.remedies]
    return {
        "scope": "verdict",
        "work": "what limits, and what each remedy would give by the model of `verdict`",
        "limit": verdict.limit,
        "share_percent": round(verdict.share_percent, 1),
        "bounds_images_per_s": {
            name: round(rate, 1) for name, rate in verdict.bounds.items() if math.isfinite(rate)
        },
        "efficiency_percent": verdict.efficiency_percent and round(verdict.efficiency_percent, 1),
        "crowding_percent": round(verdict.crowding_percent, 1),
        "unexplained_percent": round(verdict.unexplained_percent, 1),
        "cores_to_feed": verdict.cores_to_feed,
        "remedies": [{"text": text, "gain": round(gain, 3)} for text, gain in remedies],
        "lines": [line.replace(data, "DATA") for line in verdict.lines],
    }


def print_verdict(lines: Iterable[str], surroundings: Surroundings | None) -> None:
    """All lines; before them, whether the machine was quiet enough for them to mean something."""
    if surroundings is not None and surroundings["others_percent"] > MOST_OTHERS:
        percent = surroundings["others_percent"]
        print(f"warning: others took {percent:.0f} % of the cores meanwhile; measure again alone")
    for line in lines:
        print(f"verdict: {line}")
