"""Damaged Parquet files: refused in one line, or named sample by sample."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.parquet import ParquetSource

from .parquets import HUB, structs, write


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read"),
        (b"PAR1" * 3, "cannot be read"),
        (b"\x89PNG" * 40, "cannot be read"),
    ],
)
def test_what_is_no_parquet_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"data.path={path}: {message}.*; copy or download it"):
        open_source(path)


def test_more_rows_than_bytes_are_refused(tmp_path: Path) -> None:
    columns = {"image": pa.nulls(100_000, pa.binary())}
    path = write(tmp_path / "a.parquet", columns, row_group_size=100_000)
    with pytest.raises(UserError, match=r"more rows \(100000\) than bytes"):
        open_source(path)


def test_checksums_of_pages_are_looked_at(tmp_path: Path) -> None:
    pictures = {"image": pa.array([b"one picture", b"and another"])}
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    path = write(tmp_path / "a.parquet", pictures, **options)
    assert open_source(path).read(1) == b"and another"
    path.write_bytes(path.read_bytes().replace(b"one picture", b"one Picture"))
    with pytest.raises(BadSampleError, match="row group 0 of its file cannot be read"):
        open_source(path).read(1)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path, pictures: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(pictures)})
    path = path.rename(tmp_path / os.fsdecode(b"\xff.parquet"))
    with pytest.raises(UserError, match="cannot be read"):
        open_source(path)


def damage(whole: bytes, random: np.random.Generator, number: int) -> bytes:
    """Cut, or changed in the pages, in the footer (one in two), or anywhere."""
    data = bytearray(whole)
    if number % 8 == 0:
        del data[random.integers(len(data)) :]
        return bytes(data)
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    first = len(data) - footer if number % 2 else 0
    for _ in range(1 + number % 3):
        data[random.integers(first, len(data))] = random.integers(256)
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_damaged_files_are_refused_or_read(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.parquet"
    random = np.random.default_rng(0)
    image = structs([random.bytes(20) for _ in range(10)])
    columns = {"image": image, "label": pa.array([index % 3 for index in range(10)])}
    whole = write(path, columns, HUB, compression=compression).read_bytes()
    outcomes = {"read": 0, "refused": 0, "bad": 0}
    for number in range(600):
        path.write_bytes(damage(whole, random, number))
        try:
            source = open_source(path)
        except UserError as error:
            message, outcome = str(error), "refused"
        else:
            message, outcome = read_or_reason(source), "bad"
        outcomes[outcome if message else "read"] += 1
        assert "\n" not in message
    assert min(outcomes.values()) > 10, outcomes


def read_or_reason(source: ParquetSource) -> str:
    """Why a picture is bad, or nothing where all could be read."""
    reasons = []
    for index in range(len(source)):
        try:
            assert isinstance(source.read(index), bytes)
        except BadSampleError as error:
            reasons.append(str(error))
    return " ".join(reasons)
