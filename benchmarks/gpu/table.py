"""The records of all parts, a line each."""

from typing import Any

from .context import Record

_TOLD = {"part", "name", "holds", "scope", "engine", "work", "images_per_s", "tail", "settings"}
_LONGEST = 70


def print_table(records: list[Record]) -> None:
    """What holds, and the figures: a line each, to be read in a log as well."""
    width = max((len(record["part"]) for record in records), default=0)
    for record in records:
        verdict = {True: "ok", False: "FAILS", None: ""}[record["holds"]]
        told = ": ".join(text for text in (record["name"], describe(record)) if text)
        print(f"{record['part']:<{width}}  {verdict:<5}  {told}")
    wrong = sum(record["holds"] is False for record in records)
    right = sum(record["holds"] is True for record in records)
    print(f"{right} checks hold, {wrong} do not")


def describe(record: Record) -> str:
    """A record's figures on one line."""
    parts = []
    rate = record.get("images_per_s")
    if rate:
        parts.append(f"{rate['median']:,.0f} images/s (IQR {rate['iqr']:,.0f}, n {rate['n']})")
    parts += [
        f"{key} {_short(value)}"
        for key, value in record.items()
        if key not in _TOLD and value is not None
    ]
    return ", ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, dict) and "median" in value:
        return f"{value['median']:g} (IQR {value['iqr']:g}, n {value['n']})"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
