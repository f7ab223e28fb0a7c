"""What limits, in words, and what each remedy would give: arithmetic on measured figures.

The model: images pass the step, the loader and the cores, and no faster than the slowest of the
three lets them. The step has its rate on a cached batch. The loader has its own, alone on the
machine; a change to one of its stages moves that rate as it moves the workers' time for an image.
The cores have what is left when the core time of both is added up: on a CPU, where the step needs
them itself, that is the bound that counts. Nothing is fitted; what end-to-end is below the lowest
bound is unexplained, and told as that.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .bounds import Figures, bounds
from .neighbours import MOST_OTHERS
from .remedies import Remedy, find_remedies
from .results import Record, Surroundings

MUCH = 0.9
"""Of the lowest bound: below, something is unexplained."""

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
        remedies=tuple(find_remedies(figures)),
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
