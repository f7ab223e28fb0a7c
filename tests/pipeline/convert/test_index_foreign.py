"""Shards that other people's writers make: their names, their order, their odd records."""

import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import webdataset.writer
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.index.command import main
from swiftsiam.pipeline.index.contract import Fields
from swiftsiam.pipeline.index.driver import Outcome, index_folder
from swiftsiam.pipeline.progress import show_nothing
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.tfrecord_format import mask


@pytest.fixture(scope="module")
def pictures(encode: Callable[..., bytes], draw_picture: Callable[..., np.ndarray]) -> list[bytes]:
    return [encode(draw_picture(n, 20 + n, 30)) for n in range(4)]


def index(folder: Path, **fields: str) -> Outcome:
    return index_folder(folder, fields=Fields(**fields), num_workers=1, progress=show_nothing)


def listed(folder: Path) -> list[tuple[str, int, bytes]]:
    source = open_source(folder)
    return [(source.key(n), int(source.labels[n]), source.read(n)) for n in range(len(source))]


def test_webdataset(tmp_path: Path, pictures: list[bytes]) -> None:
    with webdataset.writer.TarWriter(str(tmp_path / "a-000000.tar")) as writer:
        writer.write({"__key__": "x/0001", "cls": b"3", "jpg": pictures[0], "json": b"{}"})
        writer.write({"__key__": "x/0002", "JPEG": pictures[1], "txt": b"a caption"})
        writer.write({"__key__": "x/0003", "txt": b"no picture"})
        writer.write({"__key__": "x/0004", "cls": b"cat", "jpg": pictures[2]})
    with webdataset.writer.TarWriter(str(tmp_path / "a-000001.tar")) as writer:
        writer.write({"__key__": "x/0001", "cls": b"0", "a.jpg": pictures[3], "b.jpg": b"?"})
    (tmp_path / "sizes.json").write_text("{}")
    outcome = index(tmp_path)
    assert listed(tmp_path) == [
        ("x/0001.jpg", 3, pictures[0]),
        ("x/0002.JPEG", -1, pictures[1]),
        ("x/0004.jpg", -1, pictures[2]),
        ("x/0001.a.jpg", 0, pictures[3]),
    ]
    assert open_source(tmp_path).classes == ("0", "1", "2", "3")
    assert outcome.left_out == {
        "further pictures of a sample (choose by --picture)": 1,
        "labels that are no class number (used without a label)": 1,
        "samples without a picture": 1,
    }
    assert dict(open_source(tmp_path).left_out) == outcome.left_out


def test_webdataset_by_extensions(tmp_path: Path, pictures: list[bytes]) -> None:
    with webdataset.writer.TarWriter(str(tmp_path / "a.tar")) as writer:
        sample = {"__key__": "1", "in.jpg": pictures[0], "out.jpg": pictures[1]}
        writer.write(sample | {"class.txt": b"2"})
    # It may as well be a plain archive, which needs no index.
    with pytest.raises(UserError, match=r"1 shards .*; or give .*/a\.tar, if it holds class"):
        open_source(tmp_path)
    index(tmp_path, picture="out.jpg", label="class.txt")
    assert listed(tmp_path) == [("1.out.jpg", 2, pictures[1])]


# TFRecord


def _example_class() -> type:
    """tf.train.Example, made by protobuf itself."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = {"BytesList": 12, "FloatList": 2, "Int64List": 3}
    for name, kind in kinds.items():
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(kinds, 1):
        feature.field.add(
            name=name, number=number, type=11, label=1, type_name=f".t.{name}", oneof_index=0
        )
    entry = file.message_type.add(name="Entry")  # on the wire, a map is a list of these
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".t.Feature")
    features = file.message_type.add(name="Features")
    features.field.add(name="feature", number=1, type=11, label=3, type_name=".t.Entry")
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=11, label=1, type_name=".t.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


EXAMPLE = _example_class()


def example(**features: bytes | int | float) -> bytes:
    message = EXAMPLE()
    for name, value in features.items():
        entry = message.features.feature.add(key=name.replace("__", "/"))
        kind = {bytes: "BytesList", int: "Int64List", float: "FloatList"}[type(value)]
        getattr(entry.value, kind).value.append(value)
    return message.SerializeToString()


def write_records(path: Path, *records: bytes) -> None:
    with open(path, "wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            for data in (length, record):
                file.write(data + struct.pack("<I", mask(google_crc32c.value(data))))


def test_tfrecord_as_the_tensorflow_scripts_write_imagenet(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    def record(label: int, synset: bytes, number: int) -> bytes:
        return example(
            image__encoded=pictures[number],
            image__height=20,
            image__class__label=label,
            image__class__synset=synset,
            image__object__bbox__xmin=0.5,
            image__filename=b"n%d.JPEG" % number,
        )

    write_records(tmp_path / "train-00000-of-00002", record(1, b"n01", 0), record(3, b"n03", 1))
    write_records(tmp_path / "train-00001-of-00002", record(1, b"n01", 2))
    with pytest.raises(UserError, match="2 shards \\(tfrecord\\) without a manifest"):
        open_source(tmp_path)
    assert index(tmp_path).left_out == {}
    assert listed(tmp_path) == [
        ("n0.JPEG", 1, pictures[0]),
        ("n1.JPEG", 3, pictures[1]),
        ("n2.JPEG", 1, pictures[2]),
    ]
    assert open_source(tmp_path).classes == ("0", "n01", "2", "n03")


def test_tfrecord_of_other_names(
    tmp_path: Path, pictures: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tfrecord"
    write_records(
        path,
        example(label=5, photo=pictures[0], file_name=b"p"),
        example(label=2**40, photo=pictures[1]),
        example(label=1, text=b"none"),
        example(label=-1, photo=pictures[3], image__index=0),
        b"\x0b",
    )
    index(tmp_path)
    assert listed(tmp_path) == [
        ("p", 5, pictures[0]),
        ("a.tfrecord:1", -1, pictures[1]),
        ("a.tfrecord:3", -1, pictures[3]),
    ]
    assert open_source(tmp_path).left_out == (
        ("labels that are no class number (used without a label)", 1),
        ("records that are no tf.train.Example", 1),
        ("records without a picture", 1),
    )
    for name in ("manifest.json", "manifest.npz"):
        (tmp_path / name).unlink()
    write_records(path, example(one=pictures[0], two=pictures[1], kind=2))
    with pytest.raises(UserError, match="several features of a record hold a picture: one, two"):
        index(tmp_path)
    assert main([str(tmp_path), "--picture=two", "--label=kind", "--workers=1"]) == 0
    assert listed(tmp_path) == [("a.tfrecord:0", 2, pictures[1])]


def test_a_record_with_a_wrong_checksum_is_named(
    tmp_path: Path, pictures: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tfrecord"
    records = [example(image=picture, label=0) for picture in pictures[:2]]
    write_records(path, *records)
    data = bytearray(path.read_bytes())
    data[12 + len(records[0]) + 4 + 12 + len(records[1]) // 2] ^= 1
    path.write_bytes(data)
    assert main([str(tmp_path), "--workers=1"]) == 1
    out = capsys.readouterr().out
    assert f"a.tfrecord, record at byte {16 + len(records[0])}: wrong checksum" in out
    assert "failed: 1 pictures are damaged" in out
    assert listed(tmp_path) == [("a.tfrecord:0", 0, pictures[0])]


# RecordIO


def frame(header: tuple, content: bytes) -> bytes:
    payload = struct.pack("<IfQQ", *header) + content
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)


def test_recordio_with_several_labels(tmp_path: Path, pictures: list[bytes]) -> None:
    labels = struct.pack("<3f", 7, 0.5, 0.25)
    (tmp_path / "a.rec").write_bytes(
        frame((2, 0.0, 0, 0), struct.pack("<2f", 5, 9))  # what face recognition sets begin with
        + frame((3, 0.0, 1, 0), labels + pictures[0])
        + frame((0, 2.0, 2, 0), pictures[1])
        + frame((0, 2.5, 3, 0), pictures[2])
    )
    outcome = index(tmp_path)
    assert listed(tmp_path) == [
        ("a.rec:1", 7, pictures[0]),
        ("a.rec:2", 2, pictures[1]),
        ("a.rec:3", -1, pictures[2]),
    ]
    assert outcome.left_out == {
        "labels that are no class number (used without a label)": 1,
        "records without a picture": 1,
    }


def test_records_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_bytes(frame((0, 0.0, 0, 0), b"numbers, not a picture"))
    with pytest.raises(UserError, match="none of its records holds a picture that can be read"):
        index(tmp_path)
    write_records(tmp_path / "a.rec", example(text=b"a", label=1))
    with pytest.raises(UserError, match="no picture in its shards; there are 1 records without"):
        index(tmp_path)


def test_a_damaged_picture_is_listed_and_named(
    tmp_path: Path, pictures: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [frame((0, 1.0, n, 0), data) for n, data in enumerate((pictures[0], b"junk"))]
    (tmp_path / "a.rec").write_bytes(b"".join(frames))
    assert main([str(tmp_path), "--workers=1", "--max-bad=1"]) == 0
    assert "  a.rec:1: no picture, or a damaged one" in capsys.readouterr().out
    assert len(open_source(tmp_path)) == 2
