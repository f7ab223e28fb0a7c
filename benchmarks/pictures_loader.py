"""Pictures of `bench loader`: the contestants, how ours scales, where workers' time goes."""

from typing import TYPE_CHECKING

from .canvas import COLOURS, LIMIT, OTHERS, OURS, bare, half_iqr, open_figure, tell_sizes
from .results import Record
from .table_rows import contestants, named
from .words import LIMIT as LIMIT_NAME
from .words import is_ours, tell_contestant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.42  # inches
_FRAME = 1.5
_ROOM = 0.05  # of an axis, before words beside a bar
_APART, _TICKS_APART = 0.1, 0.04  # of an axis: what is nearer would share room for words
_SHARE = 0.055  # of the longest bar: from there on a part's figure has room in it


def draw_contestants(records: list[Record]) -> "Figure | None":
    """A bar of each, ours in another colour, and a line at the limit; None: there is none."""
    through = contestants(records)
    limit = next((r for r in through if r["engine"] == LIMIT_NAME), None)
    bars = [record for record in through if record is not limit]
    if not bars:
        return None
    figure = open_figure(
        "From files to two views: core-milliseconds an image (less is better), and images/s",
        bars,
        height=_FRAME + _ROW * len(bars),
        more=_tell(bars[0]),
    )
    panel = figure.subplots()
    costs = [record["core_ms_per_image"] for record in bars]
    longest = max(cost["median"] + half_iqr(cost) for cost in costs)
    panel.barh(
        [tell_contestant(record).replace(" (", "\n(") for record in bars],
        [cost["median"] for cost in costs],
        xerr=[half_iqr(cost) for cost in costs],
        color=[OURS if is_ours(record) else OTHERS for record in bars],
        capsize=3,
    )
    for row, (record, cost) in enumerate(zip(bars, costs, strict=True)):
        end = cost["median"] + half_iqr(cost) + longest * _ROOM / 4
        told = f"{cost['median']:.2f}  ({record['images_per_s']['median']:,.0f} images/s)"
        panel.text(end, row, told, va="center")
    if limit is not None:
        ms = limit["core_ms_per_image"]["median"]
        rate = limit["images_per_s"]["median"]
        label = f"the limit: decoding alone, {ms:.2f}  ({rate:,.0f} images/s)"
        panel.axvline(ms, color=LIMIT, linestyle="--", label=label)
        figure.legend(loc="outside lower right", frameon=False)
    panel.set_xlim(0, longest * 1.45)
    panel.set_xlabel("core-ms an image; whiskers: half the interquartile range")
    panel.invert_yaxis()
    bare(panel, grid="x")
    return figure


def draw_scaling(records: list[Record]) -> "Figure | None":
    """Images/s over workers, beside as many times that of the fewest; None: under two counts."""
    some = sorted(named(records, "scaling"), key=lambda r: r["num_workers"])
    if len(some) < 2:
        return None
    counts = [record["num_workers"] for record in some]
    rates = [record["images_per_s"] for record in some]
    each = rates[0]["median"] / counts[0]
    figure = open_figure(
        f"How the loader scales: {tell_contestant(some[0])}", some, height=4.6, more=_tell(some[0])
    )
    panel = figure.subplots()
    ideal = [each * count for count in counts]
    panel.plot(counts, ideal, "--", color=LIMIT, label=f"ideal: {each:,.0f} images/s a worker")
    panel.errorbar(
        counts,
        [rate["median"] for rate in rates],
        yerr=[half_iqr(rate) for rate in rates],
        color=OURS,
        marker="o",
        capsize=3,
        label="measured; whiskers: half the interquartile range",
    )
    told = _spaced(counts, _APART)
    for count, rate in zip(counts, rates, strict=True):
        if count in told:
            text = f"{rate['median']:,.0f}  (× {rate['median'] / rates[0]['median']:.2f})"
            place = {"xytext": (8, -14), "textcoords": "offset points"}
            panel.annotate(text, (count, rate["median"] - half_iqr(rate)), **place)
    room = _ROOM * (counts[-1] - counts[0])
    panel.set_xlim(counts[0] - room, counts[-1] + 4 * room)
    panel.set_xticks(_spaced(counts, _TICKS_APART))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("workers")
    panel.set_ylabel("images/s")
    panel.legend(loc="upper left")
    bare(panel, grid="both")
    return figure


def draw_stages(records: list[Record]) -> "Figure | None":
    """A bar of each engine, of the parts of its workers' time; None: they were not counted."""
    counted = [r for r in contestants(records) if r.get("stages_ms_per_image")]
    if not counted:
        return None
    names = list(dict.fromkeys(name for r in counted for name in r["stages_ms_per_image"]))
    figure = open_figure(
        "Where the workers' time goes, ms an image",
        counted,
        height=_FRAME + 0.4 + 1.5 * _ROW * len(counted),
        more=_tell(counted[0]),
    )
    panel = figure.subplots()
    labels = [tell_contestant(record) for record in counted]
    ends = [0.0] * len(counted)
    longest = max(sum(record["stages_ms_per_image"].values()) for record in counted)
    for name, colour in zip(names, COLOURS, strict=False):
        parts = [record["stages_ms_per_image"].get(name, 0.0) for record in counted]
        bars = panel.barh(labels, parts, left=ends, color=colour, label=name, edgecolor="white")
        told = [f"{part:.2f}" if part > _SHARE * longest else "" for part in parts]
        panel.bar_label(bars, told, label_type="center")
        ends = [end + part for end, part in zip(ends, parts, strict=True)]
    for row, end in enumerate(ends):
        panel.text(end + longest * _ROOM / 4, row, f"{end:.2f} in all", va="center")
    panel.set_xlim(0, longest * 1.16)
    panel.set_xlabel("ms an image; rest: core time that is in none of the stages")
    panel.invert_yaxis()
    bare(panel, grid="x")
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _spaced(counts: list[int], apart: float) -> list[int]:
    """Those that leave room for words to each other and to 0, the greatest first.

    Args:
        counts: rising.
        apart: share of the greatest that is room enough.
    """
    kept, least = [counts[-1]], apart * counts[-1]
    for count in reversed(counts[:-1]):
        if count > least and kept[-1] - count > least:
            kept.append(count)
    return kept


def _tell(record: Record) -> str:
    workers = record["num_workers"]
    told = f"{workers} worker{'' if workers == 1 else 's'}, "
    return ("" if record.get("name") == "scaling" else told) + tell_sizes(record)
