"""The readers that other people have take what we write: FFCV, DALI, tar, webdataset."""

import gc
import json
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import webdataset
from swiftsiam.pipeline.convert.contract import STORED
from swiftsiam.pipeline.convert.formats.tfrecord import Writer, example_head, mask
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.sources import Source, open_source
from swiftsiam.pipeline.sources.manifest import Manifest

pytestmark = pytest.mark.slow


@pytest.fixture
def shards(converted: dict[str, Path], to: str) -> tuple[Path, Source, Manifest]:
    return converted[to], open_source(converted[to]), Manifest(converted[to])


def stored(path: Path) -> list[tuple[int, int, bytes]]:
    """(index, label, picture) in the order in which they are stored, by the manifest."""
    source, manifest = open_source(path), Manifest(path)
    return [
        (index, label, source.read(index))
        for index, label in zip(manifest["index"].tolist(), manifest["label"].tolist(), strict=True)
    ]


def shard_paths(path: Path) -> list[Path]:
    return [path / name for name in Manifest(path).head.files]


def test_tar(converted: dict[str, Path]) -> None:
    path = converted["webdataset"]
    found = []
    for shard in shard_paths(path):
        subprocess.run(["tar", "-tf", shard], check=True, capture_output=True, timeout=500)
        with tarfile.open(shard) as archive:
            members = archive.getmembers()
            for picture, label in zip(members[::2], members[1::2], strict=True):
                key, extension = picture.name.split(".")
                assert label.name == f"{key}.cls"
                data = archive.extractfile(picture).read()
                assert extension == ("png" if data[1:4] == b"PNG" else "jpg")
                found.append((int(key), int(archive.extractfile(label).read()), data))
    assert len(shard_paths(path)) > 2
    assert found == stored(path)
    wids = json.loads((path / "wids.json").read_text())
    assert sum(shard["nsamples"] for shard in wids["shardlist"]) == len(found)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset(converted: dict[str, Path]) -> None:
    path = converted["webdataset"]
    urls = [str(shard) for shard in shard_paths(path)]
    found = [
        (int(sample["__key__"]), int(sample["cls"]), sample.get("jpg") or sample["png"])
        for sample in webdataset.WebDataset(urls, shardshuffle=False)
    ]
    gc.collect()  # it leaves its files open
    assert found == stored(path)


def fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """Protobuf's wire format: (field number, value)."""

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    at, found = 0, []
    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, varint()))
        else:
            assert tag & 7 == 2
            size = varint()
            found.append((tag >> 3, data[at : at + size]))
            at += size
    assert at == len(data)
    return found


def parse_example(data: bytes) -> dict[str, int | bytes]:
    ((_, features),) = fields(data)
    example = {}
    for _, entry in fields(features):
        (_, name), (_, feature) = fields(entry)
        ((kind, content),) = fields(feature)
        ((_, value),) = fields(content)
        if kind == 3:
            ((_, value),) = fields(b"\x08" + value)
            value = value - 2**64 if value >= 2**63 else value
        example[name.decode()] = value
    return example


def test_tfrecord(converted: dict[str, Path]) -> None:
    found = []
    for shard in shard_paths(converted["tfrecord"]):
        data, at = shard.read_bytes(), 0
        lines = shard.with_name(f"{shard.name}.idx").read_text().splitlines()
        for line in lines:
            length, length_crc = struct.unpack_from("<QI", data, at)
            assert line == f"{at} {16 + length}"
            payload = data[at + 12 : at + 12 + length]
            (crc,) = struct.unpack_from("<I", data, at + 12 + length)
            assert length_crc == mask(google_crc32c.value(data[at : at + 8]))
            assert crc == mask(google_crc32c.value(payload))
            example = parse_example(payload)
            found.append(tuple(example[f"image/{n}"] for n in ("index", "class/label", "encoded")))
            at += 16 + length
        assert at == len(data)
    assert found == stored(converted["tfrecord"])


def test_recordio(converted: dict[str, Path]) -> None:
    """By a reader of our own after dmlc's: it joins the pieces with the magic."""
    magic = struct.pack("<I", 0xCED7230A)
    found, cuts = [], 0
    for shard in shard_paths(converted["recordio"]):
        data, at = shard.read_bytes(), 0
        index = dict(
            map(int, line.split("\t"))
            for line in shard.with_suffix(".idx").read_text().splitlines()
        )
        while at < len(data):
            begin, pieces, flag = at, [], 1
            while flag not in (0, 3):
                assert data[at : at + 4] == magic
                (word,) = struct.unpack_from("<I", data, at + 4)
                flag, length = word >> 29, word & (1 << 29) - 1
                assert magic not in {data[k : k + 4] for k in range(at + 8, at + 8 + length, 4)}
                pieces.append(data[at + 8 : at + 8 + length])
                at += 8 + length + -length % 4
            payload = magic.join(pieces)
            cuts += len(pieces) - 1
            _, label, number, _ = struct.unpack_from("<IfQQ", payload)
            assert index[number] == begin
            found.append((number, int(label), payload[24:]))
    assert found == stored(converted["recordio"])
    assert cuts >= 2


@pytest.mark.engine("dali")
def test_dali(shards: tuple[Path, Source, Manifest], to: str) -> None:
    if to == "beton":
        pytest.skip("DALI reads no betons")
    from nvidia.dali import fn, pipeline_def
    from nvidia.dali import tfrecord as feature

    path, _, _ = shards
    names = [str(shard) for shard in shard_paths(path)]

    @pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def read():
        common = {"name": "reader", "random_shuffle": False}
        if to == "webdataset":
            return tuple(
                fn.readers.webdataset(
                    paths=names,
                    index_paths=[f"{name}.idx" for name in names],
                    ext=["jpg;png", "cls"],
                    missing_component_behavior="error",
                    **common,
                )
            )
        if to == "tfrecord":
            example = fn.readers.tfrecord(
                path=names,
                index_path=[f"{name}.idx" for name in names],
                features={
                    "image/encoded": feature.FixedLenFeature((), feature.string, ""),
                    "image/class/label": feature.FixedLenFeature([1], feature.int64, -9),
                },
                **common,
            )
            return example["image/encoded"], example["image/class/label"]
        return tuple(fn.readers.mxnet(path=names, index_path=str(path / "dali.idx"), **common))

    pipeline = read()
    pipeline.build()
    expected = stored(path)
    assert pipeline.epoch_size("reader") == len(expected)
    for _, label, picture in expected:
        data, found = (np.asarray(output.at(0)) for output in pipeline.run())
        assert data.tobytes() == picture
        number = int(found.tobytes()) if to == "webdataset" else int(found[0])
        assert number == label


READ_BY_FFCV = """
import sys, numpy as np
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
path, out = sys.argv[1:]
reader = Reader(path)
found = {"names": reader.field_names}
for os_cache in (True, False):
    decoder = RandomResizedCropRGBImageDecoder((32, 32), scale=(4, 4), ratio=(1, 1))
    loader = Loader(path, batch_size=1, num_workers=1, order=OrderOption.SEQUENTIAL,
        os_cache=os_cache, pipelines={"image": [decoder], "label": [IntDecoder()],
        "index": [IntDecoder()]})
    rows = [(i.copy(), l.item(), n.item()) for i, l, n in loader]
    found[f"pixels{os_cache}"] = np.concatenate([row[0] for row in rows])
    found[f"rows{os_cache}"] = np.array([row[1:] for row in rows])
np.savez(out, **found)
"""


@pytest.mark.engine("ffcv", formats=("beton",))
def test_ffcv(converted: dict[str, Path], kinds_folder: Path, tmp_path: Path) -> None:
    """Both of its caches, and the pixels that FFCV itself makes of the raw pictures' bytes."""
    out = tmp_path / "found.npz"
    command = [sys.executable, "-c", READ_BY_FFCV, str(converted["beton"]), str(out)]
    subprocess.run(command, check=True, timeout=500, capture_output=True)
    found = np.load(out)
    assert found["names"].tolist() == ["image", "label", "index"]
    expected = [(label, index) for index, label, _ in stored(converted["beton"])]
    for cache in (True, False):
        assert [tuple(row) for row in found[f"rows{cache}"]] == expected
    np.testing.assert_array_equal(found["pixelsTrue"], found["pixelsFalse"])
    # The middle of each picture, as it is whatever the filter: the centre crop at a coarse look.
    source = open_source(kinds_folder)
    for pixels, (_, index) in zip(found["pixelsTrue"], expected, strict=True):
        picture = decode_rgb(source.read(index))
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        crop = picture[top : top + side, left : left + side].reshape(-1, 3)
        assert np.abs(pixels.reshape(-1, 3).mean(0) - crop.mean(0)).max() < 4, source.key(index)


def test_the_head_of_an_example_is_as_long_as_planned() -> None:
    """Lengths of all numbers of bytes, and labels and indexes of all kinds."""
    values = [0, 1, 50, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 2**28, 2**31 - 9000]
    samples = np.array(
        [
            (index, label, 0, length, 1, 1, 1)
            for index in (*values, 2**35)
            for label in (-1, *values)
            for length in values[1:]
        ],
        STORED,
    )
    before, behind = Writer().overhead(samples)
    heads = [len(example_head(row[1], row[0], row[3])) + 12 for row in samples.tolist()]
    assert before.tolist() == heads
    assert set(behind.tolist()) == {4}
