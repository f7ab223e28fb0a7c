"""Parquet files of pictures: the hub's layouts, what is refused, and damage."""

import json
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import open_source, parquet, recognise
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


@pytest.fixture(scope="module")
def pictures(draw_picture: Callable[..., np.ndarray], encode: Encode) -> list[bytes]:
    """Ten PNGs."""
    return [encode(draw_picture(seed, 20 + seed, 24), "PNG") for seed in range(10)]


@pytest.fixture
def hub(tmp_path: Path, pictures: list[bytes]) -> Path:
    """A folder of two files of five pictures, each in row groups of four and one."""
    root = tmp_path / "hub"
    for number in range(2):
        some = slice(5 * number, 5 * number + 5)
        columns = {"image": structs(pictures[some]), "label": pa.array([0, 1, 2, 1, 0])}
        write(root / f"train-{number:05}-of-00002.parquet", columns, HUB)
    (root / "README.md").touch()
    (root / ".gitattributes").touch()
    return root


def read_all(source: ParquetSource) -> list[bytes]:
    return [source.read(index) for index in range(len(source))]


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


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        ({"a": [b"x"], "b": [1]}, None, r"no column of pictures among a \(binary\), b \(int64\)"),
        ({"image": [1]}, None, "column image is of int64; pictures must be bytes"),
        ({"image": [{"path": "x"}]}, None, "column image is of struct<path: string>"),
        ({"image": [[b"x"]]}, None, "column image is of list<"),
        ({"image": [b"x"], "img": [b"x"]}, None, "which of the columns image, img is meant"),
        ({"a": [b"x"], "b": [b"x"]}, features(a="Image", b="Image"), "which of the columns a, b"),
        ({"image": [b"x"], "label": ["ant"]}, None, "column label is of string; labels must be"),
        ({"image": [b"x"], "label": [1.5]}, None, "column label is of double; labels must be"),
        ({"image": [b"x"], "label": [1], "labels": [1]}, None, "which of the columns label, labe"),
        ({"image": [b"x"], "label": [3]}, HUB, "labels from 3 to 3 in the column label.* 0 to 2"),
        ({"image": [b"x"], "label": [-2]}, None, "labels from -2 to -2"),
        ({"image": [b"x"], "label": [2**40]}, None, "must be class numbers, 0 to 999999"),
        ({"image": [b"x"], "label": pa.array([2**63], pa.uint64())}, None, "cannot be read"),
        ({"image": [b"x"]}, {"huggingface": "{"}, "no JSON of features"),
        ({"image": [b"x"]}, {"huggingface": "[1]"}, "no JSON of features"),
        ({"image": [b"x"], "label": [0]}, features(label=["a", "a"]), "names no classes"),
        ({"image": pa.array([], pa.binary())}, None, "holds no rows"),
    ],
)
def test_refusals(
    tmp_path: Path, columns: dict, metadata: dict[str, str] | None, message: str
) -> None:
    path = write(tmp_path / "a.parquet", columns, metadata)
    with pytest.raises(UserError, match=message) as caught:
        open_source(path, field="data.val_path")
    assert str(caught.value).startswith(f"data.val_path={path}: ")
    assert "\n" not in str(caught.value)


def test_files_of_a_folder_must_be_of_one_set(hub: Path, pictures: list[bytes]) -> None:
    columns = {"image": structs(pictures), "label": pa.array([0] * 10)}
    write(hub / "train-00001-of-00002.parquet", columns, features(image="Image", label=["x"]))
    with pytest.raises(UserError, match=r"00001-of.*columns or classes are other than those of"):
        open_source(hub)


def test_parts_of_a_folder_are_named_one_by_one(hub: Path, pictures: list[bytes]) -> None:
    write(hub / "test-00000-of-00001.parquet", {"image": structs(pictures)}, HUB)
    with pytest.raises(UserError, match="holds the parts test and train; give") as caught:
        open_source(hub)
    assert str(caught.value).endswith(f"give data.path={hub}/train data.val_path={hub}/test")
    with pytest.raises(UserError, match=f"give data.val_path={hub}/test$"):
        open_source(hub, field="data.val_path")
    for name, last in (
        ("train", "train-00001-of-00002.parquet:4"),
        ("test", "test-00000-of-00001.parquet:9"),
    ):
        assert recognise(hub / name) == "parquet"
        source = open_source(hub / name)
        assert len(source) == 10
        assert source.key(9) == last
        assert "Parquet files of other parts" in dict(source.left_out)
        assert len(pickle.loads(pickle.dumps(source))) == 10
    with pytest.raises(UserError, match="there is no such file or folder"):
        open_source(hub / "validation")


def test_a_download_that_stopped_half_way_is_refused(hub: Path) -> None:
    (hub / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(UserError, match=r"train-00000-of-00002\*.parquet: is missing, .* 1 of 2"):
        open_source(hub)
    (hub / "train-00001-of-00002.parquet").rename(hub / "train-00001-of-00003.parquet")
    with pytest.raises(UserError, match="2 of 3 files"):
        open_source(hub)


def test_a_part_that_is_there_twice_is_refused(hub: Path, pictures: list[bytes]) -> None:
    write(hub / "train-00000-of-00001.parquet", {"image": structs(pictures)}, HUB)
    with pytest.raises(UserError, match="train is there twice, in 2 files and in fewer"):
        open_source(hub)


@pytest.mark.parametrize("entry", ["ant/x.png", "x.png"])
def test_a_table_beside_pictures_is_no_data_set(hub: Path, entry: str) -> None:
    assert recognise(hub) == "parquet"
    (hub / entry).parent.mkdir(exist_ok=True)
    Image.new("RGB", (2, 2)).save(hub / entry)
    assert recognise(hub) == "folder"


def test_without_pyarrow_the_remedy_is_named(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pyarrow.*pip install 'swiftsiam\[parquet\]'$"):
        open_source(hub)


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


def test_digest_tells_other_labels_names_and_files(hub: Path, pictures: list[bytes]) -> None:
    digests = {open_source(hub).digest, open_source(hub / "train-00000-of-00002.parquet").digest}
    columns = {"image": structs(pictures[:5]), "label": pa.array([0, 1, 2, 1, 1])}
    for names in (NAMES, NAMES[::-1]):
        told = features(image="Image", label=names)
        path = write(hub.parent / "train-00000-of-00002.parquet", columns, told)
        digests.add(open_source(path).digest)
    assert len(digests) == 4
    assert open_source(hub).digest in digests


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
