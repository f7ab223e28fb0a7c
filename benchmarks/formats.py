"""The same pictures as each format that loaders read, for as long as they are measured."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..pipeline.convert.contract import Options
from ..pipeline.convert.driver import convert
from ..pipeline.errors import UserError
from ..pipeline.machine import num_cores
from ..pipeline.progress import show_nothing
from ..pipeline.sources import open_source

MOST = 20_000
"""Pictures that are converted for a benchmark."""


class Form(NamedTuple):
    """How pictures are written."""

    options: Options | None
    """None: as they are."""
    what: str


FORMS = {
    "as-is": Form(None, "as given"),
    "webdataset": Form(Options(to="webdataset"), "tar shards, JPEGs untouched"),
    "tfrecord": Form(Options(to="tfrecord"), "TFRecord shards, JPEGs untouched"),
    "recordio": Form(Options(to="recordio"), "RecordIO, JPEGs untouched"),
    "beton": Form(Options(to="beton"), "a beton, JPEGs untouched"),
    "beton-256": Form(Options(to="beton", max_side=256), "a beton of JPEGs of 256 px at most"),
    "beton-raw": Form(
        Options(to="beton", mode="raw", max_side=256), "a beton of raw pixels, 256 px at most"
    ),
}
"""By name."""


def choose_forms(asked: str) -> list[str]:
    """Those of a comma list.

    Raises:
        UserError: one does not exist.
    """
    names = asked.split(",")
    for name in names:
        if name not in FORMS:
            raise UserError(f"--formats={name}: not one of {', '.join(FORMS)}")
    return names


def check_number(data: str, names: list[str], *, field: str = "--formats") -> None:
    """Refuse to convert a large data set.

    Raises:
        UserError: they are too many pictures.
    """
    count = len(open_source(data, field="--data"))
    if count > MOST and any(FORMS[name].options for name in names):
        raise UserError(
            f"{field}: {count:,} pictures would be converted for it; give --data with "
            f"{MOST:,} at most"
        )


@contextlib.contextmanager
def converted(data: str, names: list[str]) -> Iterator[dict[str, str]]:
    """Paths of these pictures in each form; removed on leaving. Where they lie, TMPDIR says.

    Raises:
        UserError: see `check_number`.
    """
    check_number(data, names)
    with tempfile.TemporaryDirectory(prefix="swiftsiam-bench-") as folder:
        yield {name: _convert(data, name, Path(folder)) for name in names}


def _convert(data: str, name: str, folder: Path) -> str:
    options = FORMS[name].options
    if options is None:
        return data
    target = folder / (f"{name}.beton" if options.to == "beton" else name)
    convert(
        open_source(data, field="--data"),
        target,
        options=options,
        num_workers=num_cores(),
        resume=False,
        progress=show_nothing,
        tell=lambda line: None,
    )
    return str(target)
