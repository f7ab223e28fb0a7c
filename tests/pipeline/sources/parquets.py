"""Parquet files of pictures, as the tests need them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from swiftsiam.pipeline.sources.parquet import ParquetSource

NAMES = ["ant", "bee", "cat"]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
Encode = Callable[..., bytes]


def features(**kinds: object) -> dict[str, str]:
    """The schema's metadata; names make a ClassLabel."""
    told = {
        name: {"names": kind, "_type": "ClassLabel"} if isinstance(kind, list) else {"_type": kind}
        for name, kind in kinds.items()
    }
    return {"huggingface": json.dumps({"info": {"features": told}})}


HUB = features(image="Image", label=NAMES)


def write(
    path: Path,
    columns: dict[str, pa.Array],
    metadata: dict[str, str] | None = None,
    **options: object,
) -> Path:
    path.parent.mkdir(exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, **{"row_group_size": 4, **options})
    return path


def structs(pictures: Sequence[bytes | None]) -> pa.Array:
    rows = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(pictures)]
    return pa.array(rows, STRUCT)


def read_all(source: ParquetSource) -> list[bytes]:
    return [source.read(index) for index in range(len(source))]
