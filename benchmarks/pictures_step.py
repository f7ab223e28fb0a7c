"""Pictures of `bench step`: what each lane gains, and how far each is from the machine's roof."""

import itertools
from typing import TYPE_CHECKING, Any

from .canvas import GAIN, LOSS, OTHERS, OURS, bare, half_iqr, open_figure, tell_sizes
from .results import Record
from .words import is_plain, tell_lane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.42  # inches
_FRAME = 1.3
_MARKERS = "osD^vP*Xhd<>"
_PRECISIONS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_LOWEST = 1e-6  # TFLOP/s that logarithms are taken of
_DECADE = 10.0
_TICKS = (1.0, 2.0, 5.0)  # in a decade


def draw_waterfall(records: list[Record]) -> "Figure | None":
    """Plain loops as bars, then ours, and what each lane adds to it; None: no lane of ours."""
    lanes = _lanes(records)
    ours = [r for r in lanes if not is_plain(r)]
    if not ours:
        return None
    figure = open_figure(
        "The training step, lane by lane, images/s",
        lanes,
        height=_FRAME + _ROW * (len(lanes) + 1),
        more=_tell(ours[0]),
    )
    panel = figure.subplots()
    rates = [record["images_per_s"] for record in lanes]
    longest = max(rate["median"] + half_iqr(rate) for rate in rates)
    before = 0.0
    for row, (record, rate) in enumerate(zip(lanes, rates, strict=True)):
        is_lane = record in ours[1:]
        start = before if is_lane else 0.0
        after = rate["median"]
        colour = OTHERS if is_plain(record) else OURS
        if is_lane:
            colour = GAIN if after >= before else LOSS
            panel.plot([before] * 2, [row - 1.4, row + 0.4], color="black", linewidth=0.8)
        panel.barh(row, after - start, left=start, color=colour)
        _end(panel, row, rate, record if is_lane else None, longest)
        before = after
    total = rates[-1]
    panel.plot([before] * 2, [len(lanes) - 1.4, len(lanes) + 0.4], color="black", linewidth=0.8)
    panel.barh(len(lanes), total["median"], color=OURS)
    _end(panel, len(lanes), total, None, longest)
    labels = [*(tell_lane(record) for record in lanes), "our step, all lanes"]
    panel.set_yticks(range(len(labels)), labels)
    panel.set_xlim(0, longest * 1.3)
    panel.set_xlabel("images/s; whiskers: half the interquartile range; ×: over the row above")
    panel.invert_yaxis()
    bare(panel, grid="x")
    return figure


def _end(panel: Any, row: int, rate: dict[str, Any], lane: Record | None, longest: float) -> None:
    """A bar's whisker and words; of a lane also its gain."""
    panel.errorbar(rate["median"], row, xerr=half_iqr(rate), color="black", capsize=3)
    gain = f"  (× {lane['gain']['median']:.2f})" if lane and "gain" in lane else ""
    place = rate["median"] + half_iqr(rate) + longest * 0.012
    panel.text(place, row, f"{rate['median']:,.0f}{gain}", va="center")


def draw_roofline(records: list[Record]) -> "Figure | None":
    """The machine's roof for each precision, and each lane below it; None: it was not measured.

    The roof: no more than its products in cache allow, nor than its memory can feed at so many
    operations for each byte that is moved.
    """
    machine = next((r for r in records if r.get("lane") == "roofline"), None)
    needed = {"gflop_per_image", "mb_per_image", "tflop_per_s"}
    lanes = [r for r in _lanes(records) if needed <= r.keys()]
    if machine is None or not lanes:
        return None
    bandwidth = machine["bandwidth_gb_s"]["median"]
    peaks = {name: figure["median"] for name, figure in machine["matmul_tflop_s"].items()}
    figure = open_figure(
        "The training step below the machine's roof", lanes, height=6.4, more=_tell(lanes[0])
    )
    panel = figure.subplots()
    places = [1000 * r["gflop_per_image"] / r["mb_per_image"] for r in lanes]
    knees = [1000 * peak / bandwidth for peak in peaks.values()]
    low, high = min(places + knees) / 3, max(places + knees) * 3
    slope, top = [low, max(knees)], [bandwidth * low / 1000, max(peaks.values())]
    panel.plot(slope, top, color="black", label=f"roof: memory, {bandwidth:,.0f} GB/s")
    colours = dict(zip(peaks, itertools.cycle(_PRECISIONS), strict=False))
    for (name, peak), knee in zip(peaks.items(), knees, strict=True):
        label = f"roof: {name}, {peak:.3g} TFLOP/s"
        panel.plot([knee, high], [peak, peak], color=colours[name], linewidth=2, label=label)
    for number, (record, place) in enumerate(zip(lanes, places, strict=True)):
        rate, is_open = record["tflop_per_s"], is_plain(record)
        panel.errorbar(
            place,
            rate["median"],
            yerr=half_iqr(rate),
            color=colours.get(_find_precision(lanes[: number + 1]), OTHERS),
            linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=9,
            markerfacecolor="none" if is_open else None,
            capsize=3,
            label=tell_lane(record),
        )
    lowest = min(r["tflop_per_s"]["median"] for r in lanes)
    _scale(panel, (low, high), (max(lowest, _LOWEST) / 2, max(peaks.values()) * 2))
    panel.set_xlabel("FLOP for each byte that is moved")
    panel.set_ylabel("TFLOP/s; whiskers: half the interquartile range")
    bare(panel, grid="both")
    figure.legend(loc="outside lower left", ncols=3, frameon=False)
    return figure


def _find_precision(lanes: list[Record]) -> str:
    """In which the last of them multiplies, by name: float32 is TF32 from that lane on."""
    precision: str = lanes[-1]["precision"]
    is_tf32 = any(record["lane"] == "+ tf32" for record in lanes)
    return "tf32" if precision == "fp32" and is_tf32 else precision


def _scale(panel: Any, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Logarithms, and ticks in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    panel.set_xscale("log")
    panel.set_yscale("log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(_DECADE, _TICKS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlim(*across)
    panel.set_ylim(*up)


def _lanes(records: list[Record]) -> list[Record]:
    return [r for r in records if r["scope"] == "step" and "failure" not in r]


def _tell(record: Record) -> str:
    return ", ".join([*([record["name"]] if "name" in record else []), tell_sizes(record)])
