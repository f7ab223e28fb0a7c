"""Parquet files are read group by group, in threads and processes, while they stay as they are."""

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import open_source, parquet
from swiftsiam.pipeline.sources.parquet import ParquetSource

from .parquets import read_all


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded = []
    decode = ParquetSource._decode

    def counted(self: ParquetSource, group: int) -> object:
        decoded.append(group)
        return decode(self, group)

    monkeypatch.setattr(ParquetSource, "_decode", counted)
    return decoded


def test_in_order_each_row_group_is_decoded_once(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoded(monkeypatch)
    read_all(ParquetSource(hub))
    assert decoded == [0, 1, 2, 3]


def test_the_cache_is_bounded_and_keeps_the_last_used(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ParquetSource(hub)
    size = [source._decode(group).nbytes for group in range(4)]
    monkeypatch.setattr(parquet, "_CACHE_BYTES", size[0] + size[1] + size[3] - 1)
    decoded = count_decoded(monkeypatch)
    for index in (0, 4, 0, 9, 0, 4):  # groups 0, 1, 0, 3, 0, 1
        source.read(index)
    assert decoded == [0, 1, 3, 1]
    monkeypatch.setattr(parquet, "_CACHE_BYTES", 0)
    read_all(source)
    assert len(source._cache) == 1


def test_threads_read_the_same(hub: Path, pictures: list[bytes]) -> None:
    source = ParquetSource(hub)
    order = np.random.default_rng(0).integers(0, 10, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, order)) == [pictures[index] for index in order]


@pytest.mark.slow
def test_another_process_reads_the_same(hub: Path) -> None:
    source = open_source(hub)
    source.read(0)
    assert len(pickle.dumps(source)) < 1000
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert pool.apply(ParquetSource.read, (source, 7)) == source.read(7)


def test_a_changed_file_is_neither_unpickled_nor_read(hub: Path) -> None:
    source = open_source(hub)
    source.read(0)
    pickled = pickle.dumps(source)
    os.utime(hub / "train-00001-of-00002.parquet", ns=(1, 1))
    with pytest.raises(UserError, match="has changed since it was opened"):
        pickle.loads(pickled)
    with pytest.raises(BadSampleError, match="has changed since it was opened"):
        source.read(5)
