"""The end of a conversion: manifest, indexes and the list of what was left out."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..sources import Source
from ..sources.manifest import COLUMNS, Head, checksum, encode_head, encode_samples, paths_of
from .contract import STORED, Layout, ShardFormat
from .workplace import Workplace


def finish(
    place: Workplace,
    source: Source,
    shard_format: ShardFormat,
    samples: np.ndarray,
    layout: Layout,
    *,
    made: dict[str, Any],
    rejected: dict[str, str],
) -> None:
    """Write what lies beside the shards.

    Args:
        place: where all parts are written.
        source: what was converted.
        shard_format: to what.
        samples: (N,) records of `STORED`.
        layout: where they lie.
        made: for `Head.made`.
        rejected: name → reason.
    """
    written = [place.load_written(number) for number in range(len(layout.parts))]
    checksums = np.concatenate([sums for _, sums in written])
    parts = tuple(
        (part.file, part.begin, part.end, f"{whole:016x}")
        for part, (whole, _) in zip(layout.parts, written, strict=True)
    )
    indexes = {}
    for name, content in shard_format.indexes(samples, layout):
        write_atomically(place.out / name, content)
        indexes[name] = checksum(content)
    keys = [source.key(index).encode("utf-8", "surrogateescape") for index in samples["index"]]
    columns = {name: samples[name] for name in COLUMNS if name in (STORED.names or ())}
    columns |= {
        "shard": layout.shard,
        "offset": layout.offset,
        "checksum": checksums,
        "key_end": np.cumsum([len(key) for key in keys]),
    }
    arrays = encode_samples(columns, b"".join(keys))
    head_path, samples_path = (place.out / path.name for path in paths_of(place.target))
    write_atomically(samples_path, arrays)
    head = Head(
        format=shard_format.name,
        classes=source.classes,
        num_samples=len(samples),
        files=dict(zip(layout.names, layout.sizes, strict=True)),
        parts=parts,
        indexes=indexes,
        samples=checksum(arrays),
        made=made,
    )
    if rejected:
        write_atomically(rejected_path(place.target, place.out), _table(rejected))
    write_atomically(head_path, encode_head(head))


def rejected_path(target: Path, folder: Path | None = None) -> Path:
    """Where the list of what was rejected lies."""
    if target.suffix == ".beton":
        return (folder or target.parent) / f"{target.name}.rejected.csv"
    return (folder or target) / "rejected.csv"


def _table(rejected: dict[str, str]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("picture", "reason"))
    rows.writerows(rejected.items())
    return text.getvalue().encode("utf-8", "surrogateescape")
