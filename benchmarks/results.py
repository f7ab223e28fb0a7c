"""The JSON of a benchmark: a list of records, one for each thing that was measured."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ..pipeline.errors import UserError
from ..pipeline.files import write_atomically
from .machine import describe_machine

Record = dict[str, Any]
Scope = Literal["step", "loader", "end-to-end", "read", "convert", "loop", "machine", "verdict"]
"""What the images of `images_per_s` went through: the training step on a cached batch; the loader,
from files to views; both; reading alone; into another format. The last three are no rates."""


class Figure(TypedDict):
    """What is kept of repeated measurements."""

    median: float
    iqr: float
    """Interquartile range."""
    n: Annotated[int, Ge(1)]
    """Of rounds."""


class Surroundings(TypedDict):
    """What else was going on; see `neighbours`."""

    others_percent: float
    """Core time that other processes took, or that the host took away, of all cores."""


class _Machine(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    cpu: str
    cores: Annotated[int, Ge(1)]
    gpu: str | None
    versions: dict[str, str | None]
    commit: str | None


class _Record(TypedDict):
    """A benchmark adds keys of its own: a figure, or plain types."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    scope: Scope
    engine: str
    """Contestant: an engine of ours, a peer, a limit; none where nothing is loaded."""
    work: str
    """What was done, in words."""
    machine: _Machine
    images_per_s: NotRequired[Figure]
    core_ms_per_image: NotRequired[Figure]
    batch_size: NotRequired[Annotated[int, Ge(1)]]
    num_workers: NotRequired[Annotated[int, Ge(0)]]
    failure: NotRequired[str]
    """Why there is no rate."""
    surroundings: NotRequired[Surroundings | None]
    """None: the system does not say."""


RATES = ("step", "loader", "end-to-end", "read", "convert")
"""Scopes whose records have a rate, a batch size and a number of workers."""
_OF_A_RATE = ("images_per_s", "batch_size", "num_workers")
_IDENTITY = ("scope", "engine", "lane", "name", "data", "format", "precision")
_SIZES = ("num_workers", "batch_size", "size")


def schema() -> dict[str, Any]:
    """The JSON schema of a results file."""
    return TypeAdapter(list[_Record]).json_schema()


def check_records(records: Any) -> list[Record]:
    """Records that are as the schema has them.

    Raises:
        ValueError: they are not; says which one, and what of it.
    """
    try:
        TypeAdapter(list[_Record]).validate_python(records, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    for number, record in enumerate(records):
        has_rate = record["scope"] in RATES and "failure" not in record
        missing = [key for key in _OF_A_RATE if has_rate and key not in record]
        if missing:
            raise ValueError(f"{number}.{missing[0]}: of the scope {record['scope']} it is needed")
    return records


def write_records(path: Path, records: list[Record], **facts: Any) -> None:
    """Write them, each with the machine and these facts in front."""
    facts = {"machine": describe_machine()} | facts
    whole = check_records([facts | record for record in records])
    write_atomically(path, (json.dumps(whole, indent=1) + "\n").encode())


def read_records(path: Path, *, field: str) -> list[Record]:
    """Those of a file.

    Raises:
        UserError: it cannot be read, or is no results file; begins with `field`.
    """
    try:
        return check_records(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(f"{field}={path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # also of the JSON
        raise UserError(f"{field}={path}: no results of a benchmark: {error}") from None


def name_record(record: Record) -> str:
    """What it is of, in a word or two: equal in two files where the same was measured."""
    names = [str(record[key]) for key in _IDENTITY if record.get(key) not in (None, "none")]
    return ", ".join([*names, *(f"{key}={record[key]}" for key in _SIZES if key in record)])
