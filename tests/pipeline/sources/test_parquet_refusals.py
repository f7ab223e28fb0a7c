"""Parquet files and folders of them that are refused, with what to do."""

import pickle
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source, recognise

from .parquets import HUB, features, structs, write


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


def test_above_the_files_is_told_where_they_are(hub: Path) -> None:
    """As a clone from the hub has them in its data/."""
    with pytest.raises(UserError, match=rf"its Parquet files lie in {hub.name}/; give {hub}$"):
        open_source(hub.parent)
