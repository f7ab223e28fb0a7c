"""What tables and pictures call what was measured: names of records, in words."""

import os
import re

from ..pipeline.engines import ENGINES
from .results import Record

LIMIT = "decode-only"
"""The contestant that no loader of whole JPEGs can pass."""
_CONTESTANTS = {
    LIMIT: "libjpeg-turbo decoding alone (the limit)",
    "reference": "the reference recipe (Pillow, torchvision, DataLoader)",
    "dali-operators": "DALI's own operators on the CPU",
    "torchvision-v2": "torchvision's transforms v2, DataLoader",
    "torchcodec": "torchcodec, transforms v2, DataLoader",
    "lightly": "lightly",
    "spdl": "SPDL",
    "webdataset": "WebDataset",
    "ffcv-stock": "FFCV's own loader (crop and flip alone)",
}
_PRECISIONS = {"fp32": "float32"}
_PARTS = {
    "step": "the step on one cached batch",
    "cached": "the loader, on pictures read before",
    "files": "the loader, on the files",
    "cold": "the loader, on files that lie on the disk alone",
    "end-to-end": "both: end-to-end",
}


def is_ours(record: Record) -> bool:
    """Whether it is of an engine of ours."""
    return record["engine"] in ENGINES


def tell_contestant(record: Record) -> str:
    """Of `bench loader`."""
    engine: str = record["engine"]
    if is_ours(record):
        return f"swiftsiam, {engine} engine"
    return _CONTESTANTS.get(engine, engine)


def tell_part(record: Record) -> str:
    """Of `bench train`."""
    lane: str = record["lane"]
    return _PARTS.get(lane, lane)


def is_plain(record: Record) -> bool:
    """Whether it is of a plain loop, not of our step."""
    return record["lane"].startswith("plain ")


def tell_lane(record: Record) -> str:
    """Of `bench step`."""
    lane: str = record["lane"]
    if is_plain(record):
        layout = " NHWC" if lane.endswith("NHWC") else ""
        return f"plain loop, {tell_precision(record)}{layout}"
    if lane == "none":
        return "our step, no lane on"
    return f"{lane} ({record['precision']})" if lane == "+ precision" else lane


def tell_precision(record: Record) -> str:
    """As prose has it."""
    precision: str = record["precision"]
    return _PRECISIONS.get(precision, precision)


def tell_machine(record: Record) -> str:
    """What the figures are of, in a few words."""
    machine = record["machine"]
    cores = machine["cores"]
    told = f"{machine['cpu']}, {cores} core{'' if cores == 1 else 's'}"
    return f"{machine['gpu']}, {told}" if machine["gpu"] else told


def hide_paths(text: str, *, data: str) -> str:
    """With DATA in place of one machine's path of it.

    Args:
        text: of a verdict.
        data: last part of that path.
    """
    path = rf"{re.escape(os.sep)}\S*{re.escape(data)}" if data else r"/\S+"
    return re.sub(path, "DATA", text)
