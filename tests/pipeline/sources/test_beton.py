"""Betons as a source: what stock FFCV wrote is read, and nothing is believed unchecked."""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.beton import BetonSource
from swiftsiam.pipeline.sources.beton_format import ALLOCATION, FIELD, HEADER

pytestmark = pytest.mark.engine("ffcv", formats=("beton",))

COUNT = 12
Damage = Callable[[bytearray], None]


def read_pictures(betons: dict[str, Path]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(betons["pictures"].iterdir())]


@pytest.mark.parametrize("name", ["raw", "shuffled", "mixed", "jpg"])
def test_reads_what_ffcv_wrote(betons: dict[str, Path], name: str) -> None:
    source = open_source(betons[name])
    assert len(source) == COUNT
    assert source.labels.tolist() == [index % 3 for index in range(COUNT)]
    assert source.classes == ("0", "1", "2")
    num_exact = 0
    for index, picture in enumerate(read_pictures(betons)):
        pixels = decode_rgb(source.read(index))
        assert pixels.shape == picture.shape
        num_exact += np.array_equal(pixels, picture)
        # JPEG's own loss on noise is 7; of another picture it would be 50 and more.
        assert np.abs(pixels.astype(int) - picture).mean() < 12
    assert {"raw": 12, "shuffled": 12, "jpg": 0}.get(name, num_exact) == num_exact
    assert 0 < num_exact < 12 or name != "mixed"


def test_raw_pictures_are_files_that_others_can_read(betons: dict[str, Path]) -> None:
    image = Image.open(io.BytesIO(open_source(betons["raw"]).read(3)))
    assert image.format == "PPM"
    assert np.array_equal(np.asarray(image), read_pictures(betons)[3])


def test_index_field_names_the_listing_and_key_the_record(betons: dict[str, Path]) -> None:
    source = BetonSource(betons["shuffled"])
    assert source.order.tolist() != sorted(source.order)
    assert source.key(4) == f"shuffled.beton:{source.order[4]}"
    assert source.image_field == "image"


def test_pickles_as_its_path(betons: dict[str, Path]) -> None:
    source = open_source(betons["mixed"])
    pickled = pickle.dumps(source)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert [again.read(i) for i in range(COUNT)] == [source.read(i) for i in range(COUNT)]


def test_a_changed_file_does_not_unpickle(betons: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "changing.beton"
    shutil.copy(betons["raw"], path)
    pickled = pickle.dumps(open_source(path))
    shutil.copy(betons["mixed"], path)
    with pytest.raises(UserError, match="has changed since it was opened"):
        pickle.loads(pickled)


def test_class_names_of_the_manifest(betons: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "named.beton"
    shutil.copy(betons["raw"], path)
    manifest = tmp_path / "named.beton.manifest.json"
    manifest.write_text(json.dumps({"classes": ["ant", "bee", "cat"]}))
    assert open_source(path).classes == ("ant", "bee", "cat")
    manifest.write_text(json.dumps({"classes": ["ant"]}))
    with pytest.raises(UserError, match="classes must be a list of at least 3 names"):
        open_source(path)


def edit(betons: dict[str, Path], folder: Path, damage: Damage, *, name: str = "shuffled") -> Path:
    """A damaged copy."""
    data = bytearray(betons[name].read_bytes())
    damage(data)
    path = folder / "damaged.beton"
    path.write_bytes(data)
    return path


def test_an_index_that_is_no_permutation_is_ignored(
    betons: dict[str, Path], tmp_path: Path
) -> None:
    def repeat(data: bytearray) -> None:
        source = BetonSource(betons["shuffled"])
        itemsize, offset = metadata_layout(source)
        data[offset : offset + 8] = data[offset + itemsize : offset + itemsize + 8]

    source = BetonSource(edit(betons, tmp_path, repeat))
    assert source.order.tolist() == list(range(COUNT))


def metadata_layout(source: BetonSource) -> tuple[int, int]:
    """Bytes of a record of `shuffled`, and the place of the first one's index."""
    # label (8), note (8 + 8), weight (8), index (8), image (13), padded to a multiple of 8.
    assert source.image_field == "image"
    return 56, HEADER.itemsize + 5 * FIELD.itemsize + 32


def records(data: bytearray, dtype: np.dtype, *, offset: int = 0, count: int = -1) -> np.ndarray:
    """Of the file, to be written to."""
    return np.frombuffer(data, dtype, offset=offset, count=count)


def set_header(name: str, value: int) -> Damage:
    def damage(data: bytearray) -> None:
        records(data, HEADER, count=1)[name] = value

    return damage


def set_field(name: str, value: object) -> Damage:
    def damage(data: bytearray) -> None:
        records(data, FIELD, count=5, offset=HEADER.itemsize)[name][4] = value

    return damage


def set_allocation(name: str, value: int) -> Damage:
    def damage(data: bytearray) -> None:
        table = int(records(data, HEADER, count=1)["alloc_table_ptr"][0])
        records(data, ALLOCATION, offset=table)[name][-1] = value

    return damage


def set_image(offset: int, value: bytes) -> Damage:
    """Bytes of the first record's image: mode 0, width 1, height 3, data_ptr 5."""

    def damage(data: bytearray) -> None:
        start = HEADER.itemsize + 5 * FIELD.itemsize + 40 + offset
        data[start : start + len(value)] = value

    return damage


def cut(count: int) -> Damage:
    def damage(data: bytearray) -> None:
        del data[count:]

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (set_header("version", 3), "version 3"),
        (set_header("num_fields", 0), "0 fields"),
        (set_header("num_fields", 60_000), "60000 fields"),
        (set_header("page_size", 0), "page size 0"),
        (set_header("num_samples", 0), "no samples"),
        (set_header("num_samples", 2**64 - 1), "metadata would end at byte"),
        (set_header("alloc_table_ptr", 2**64 - 1), "allocation table from byte"),
        (set_header("alloc_table_ptr", 8), "allocation table from byte"),
        (set_field("type_id", 9), "type 9"),
        (set_field("type_id", 255), "type 255"),
        (set_field("type_id", 1), "0 image fields"),
        (set_field("name", b"label"), "not unique"),
        (set_field("name", b"\xff"), "not ASCII"),
        (set_allocation("ptr", 2**64 - 8), "outside the data"),
        (set_allocation("ptr", 0), "outside the data"),
        (set_allocation("size", 2**64 - 1), "outside the data"),
        (set_allocation("ptr", 2_200_000), "no allocation begins"),
        (set_allocation("size", 5), "other than height x width x 3"),
        (set_image(0, b"\7"), "an unknown mode"),
        (set_image(1, b"\0\0"), "no pixels"),
        (set_image(3, b"\xff\xff"), "other than height x width x 3"),
        (set_image(5, b"\xff" * 8), "no allocation begins"),
        (cut(10), "header would end"),
        (cut(100), "field descriptors would end"),
        (cut(5300), "metadata would end"),
        (cut(3_000_000), "allocation table from byte"),
        (cut(0), "cannot be read"),
    ],
)
def test_damage_is_refused_and_named(
    betons: dict[str, Path], tmp_path: Path, damage: Damage, message: str
) -> None:
    path = edit(betons, tmp_path, damage)
    with pytest.raises(UserError, match=message) as caught:
        open_source(path, field="data.val_path")
    assert f"data.val_path={path}" in str(caught.value)


def test_labels_must_be_class_numbers(betons: dict[str, Path], tmp_path: Path) -> None:
    def damage(data: bytearray) -> None:
        start = HEADER.itemsize + 5 * FIELD.itemsize
        data[start : start + 8] = (2**40).to_bytes(8, "little")

    with pytest.raises(UserError, match="class numbers"):
        open_source(edit(betons, tmp_path, damage))
