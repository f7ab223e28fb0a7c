"""Parquet files of pictures: the hub's layouts, and others."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError
from swiftsiam.pipeline.sources import open_source

from .parquets import NAMES, STRUCT, features, read_all, structs, write


def test_reads_what_a_folder_of_the_same_pictures_does(
    hub: Path, tmp_path: Path, pictures: list[bytes]
) -> None:
    for index, data in enumerate(pictures):
        path = tmp_path / "png" / NAMES[[0, 1, 2, 1, 0][index % 5]] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder = open_source(tmp_path / "png")
    at = {int(Path(folder.key(index)).stem): index for index in range(10)}
    source = open_source(hub)
    assert (source.format, source.classes, len(source)) == ("parquet", folder.classes, 10)
    assert source.labels.dtype == np.int64
    for index in range(10):
        assert source.labels[index] == folder.labels[at[index]]
        pixels = decode_rgb(folder.read(at[index]))
        assert np.array_equal(decode_rgb(source.read(index)), pixels)


def test_keys_places_and_peeks(hub: Path) -> None:
    source = open_source(hub)
    assert source.key(4) == "train-00000-of-00002.parquet:4"
    assert source.key(5) == "train-00001-of-00002.parquet:0"
    status = (hub / "train-00001-of-00002.parquet").stat()
    assert source.place(9) == (status.st_dev, status.st_ino, 4)
    assert len({source.place(index) for index in range(10)}) == 10
    data, peek = source.read(9), source.peek(9, 16)
    assert (peek.size, peek.head, peek.tail) == (len(data), data[:16], data[-2:])
    assert source.left_out == (("hidden files and folders", 1), ("other files", 1))


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_bytes_and_names_alone(
    tmp_path: Path, pictures: list[bytes], kind: pa.DataType, compression: str
) -> None:
    labels = pa.array([3, None, 0, 1, 2, 3, 0, 1, 2, -1], pa.int8())
    columns = {"img": pa.array(pictures, kind), "labels": labels}
    source = open_source(write(tmp_path / "a.parquet", columns, compression=compression))
    assert source.classes == ("0", "1", "2", "3")
    assert source.labels.tolist() == [3, -1, 0, 1, 2, 3, 0, 1, 2, -1]
    assert read_all(source) == pictures


def test_feature_types_go_before_names(tmp_path: Path, pictures: list[bytes]) -> None:
    columns = {
        "image": pa.array([b"thumbnail"] * 10),
        "photo": structs(pictures),
        "label": pa.array(["text"] * 10),
        "kind": pa.array([2] * 10),
    }
    path = write(tmp_path / "a.parquet", columns, features(photo="Image", kind=NAMES))
    source = open_source(path)
    assert source.read(3) == pictures[3]
    assert (source.classes, source.labels.tolist()) == (tuple(NAMES), [2] * 10)


def test_of_fine_and_coarse_labels_the_fine_are_taken(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    columns = {
        "img": structs(pictures),
        "fine_label": pa.array(range(10)),
        "coarse_label": pa.array([0] * 10),
        "label": pa.array([7] * 10),  # by its name alone
    }
    fine = [f"fine {number}" for number in range(10)]
    told = features(img="Image", fine_label=fine, coarse_label=["all"])
    source = open_source(write(tmp_path / "a.parquet", columns, told))
    assert (source.classes, source.labels.tolist()) == (tuple(fine), list(range(10)))


def test_without_labels_there_are_none(tmp_path: Path, pictures: list[bytes]) -> None:
    source = open_source(write(tmp_path / "a.parquet", {"image": structs(pictures)}))
    assert (source.classes, source.labels.tolist()) == ((), [-1] * 10)


def test_null_pictures_are_bad_samples(tmp_path: Path, pictures: list[bytes]) -> None:
    image = pa.array([{"bytes": pictures[0]}, None, {"path": "elsewhere.png"}], STRUCT)
    source = open_source(write(tmp_path / "a.parquet", {"image": image}))
    assert source.read(0) == pictures[0]
    for index in (1, 2):
        with pytest.raises(BadSampleError, match="is null"):
            source.read(index)
    plain = open_source(write(tmp_path / "b.parquet", {"image": pa.array([None], pa.binary())}))
    with pytest.raises(BadSampleError, match="is null"):
        plain.read(0)


def test_digest_tells_other_labels_names_and_files(hub: Path, pictures: list[bytes]) -> None:
    digests = {open_source(hub).digest, open_source(hub / "train-00000-of-00002.parquet").digest}
    columns = {"image": structs(pictures[:5]), "label": pa.array([0, 1, 2, 1, 1])}
    for names in (NAMES, NAMES[::-1]):
        told = features(image="Image", label=names)
        path = write(hub.parent / "train-00000-of-00002.parquet", columns, told)
        digests.add(open_source(path).digest)
    assert len(digests) == 4
    assert open_source(hub).digest in digests
