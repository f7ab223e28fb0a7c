"""README's tables: the lines of each, from the records of a results file."""

from collections.abc import Callable, Iterable, Sequence

from .formats import FORMS
from .results import Record
from .words import (
    hide_paths,
    is_ours,
    is_plain,
    tell_contestant,
    tell_lane,
    tell_part,
    tell_precision,
)

Lines = list[str]


def build(name: str, records: list[Record]) -> Lines:
    """The lines of one of TABLES; none where no record is of its kind."""
    return TABLES[name](records)


def contestants(records: list[Record]) -> list[Record]:
    """Those of `bench loader`'s race that came through, the cheapest first."""
    raced = [r for r in records if r["scope"] == "loader" and "name" not in r]
    through = [r for r in raced if "failure" not in r]
    return sorted(through, key=lambda r: r["core_ms_per_image"]["median"])


def named(records: list[Record], name: str) -> list[Record]:
    """Of what else `bench loader` measured, what came through."""
    return [
        r
        for r in records
        if r["scope"] == "loader" and r.get("name") == name and "failure" not in r
    ]


def _loader(records: list[Record]) -> Lines:
    through = contestants(records)
    best = next((record for record in through if is_ours(record)), None)
    rows = []
    for record in through:
        row = [tell_contestant(record), *_costs(record)]
        rows.append([f"**{cell}**" for cell in row] if record is best else row)
    return _table(("loader", "core-ms an image", "images/s"), rows)


def _stages(records: list[Record]) -> Lines:
    counted = [r for r in contestants(records) if r.get("stages_ms_per_image")]
    names = list(dict.fromkeys(name for r in counted for name in r["stages_ms_per_image"]))
    rows = []
    for record in counted:
        spent = record["stages_ms_per_image"]
        cells = [f"{spent[name]:.3f}" if name in spent else "–" for name in names]
        rows.append([tell_contestant(record), *cells, f"{sum(spent.values()):.2f}"])
    return _table(("workers' time, ms an image", *names, "in all"), rows)


def _formats(records: list[Record]) -> Lines:
    some = named(records, "formats")
    rows = [
        [FORMS[form].what if (form := r["format"]) in FORMS else form, *_costs(r)] for r in some
    ]
    return _table(("the same pictures", "core-ms an image", "images/s"), rows)


def _scaling(records: list[Record]) -> Lines:
    some = sorted(named(records, "scaling"), key=lambda r: r["num_workers"])
    rows = []
    for record in some:
        gain = record["images_per_s"]["median"] / some[0]["images_per_s"]["median"]
        rows.append([str(record["num_workers"]), *_costs(record), f"{gain:.2f}"])
    return _table(("workers", "core-ms an image", "images/s", "over the first row"), rows)


def _step(records: list[Record]) -> Lines:
    lanes = [r for r in records if r["scope"] == "step"]
    rows = []
    for number, record in enumerate(lanes):
        gain = record.get("gain")
        told = f"{gain['median']:.2f} ± {gain['iqr'] / 2:.2f}" if gain else ""
        words = _tell_plain(record, is_first=number == 0) if is_plain(record) else tell_lane(record)
        rate, cost = reversed(_costs(record))
        rows.append([words, rate, cost, told])
    return _table(("", "images/s", "core-ms an image", "over the row above"), rows)


def _tell_plain(record: Record, *, is_first: bool) -> str:
    """The first is explained, and the others say what differs."""
    precision, is_nhwc = tell_precision(record), record["lane"].endswith("NHWC")
    if is_first:
        layout = "NHWC" if is_nhwc else "NCHW"
        return f"a plain loop as the reference has it: {precision}, {layout}, torch's SGD"
    return f"the same in {precision}{' and NHWC' if is_nhwc else ''}"


def _train(records: list[Record]) -> Lines:
    rows = []
    for record in (r for r in records if r["scope"] in ("step", "loader", "end-to-end")):
        rate, cost = reversed(_costs(record))
        rows.append([tell_part(record), rate, cost])
    return _table(("a training job in parts", "images/s", "core-ms an image"), rows)


def _verdict(records: list[Record]) -> Lines:
    lines = [
        hide_paths(line, data=record.get("data", ""))
        for record in records
        if record["scope"] == "verdict"
        for line in record["lines"]
    ]
    return ["```", *lines, "```"] if lines else []


def _costs(record: Record) -> list[str]:
    """Core time and rate."""
    cost, rate = record["core_ms_per_image"]["median"], record["images_per_s"]["median"]
    return [f"{cost:,.2f}", f"{rate:,.0f}"]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Lines:
    rows = list(rows)
    if not rows:
        return []
    return [_line(heads), "|" + "---|" * len(heads), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


TABLES: dict[str, Callable[[list[Record]], Lines]] = {
    "loader": _loader,
    "stages": _stages,
    "formats": _formats,
    "scaling": _scaling,
    "step": _step,
    "train": _train,
    "verdict": _verdict,
}
"""By name, as README's markers have it."""
