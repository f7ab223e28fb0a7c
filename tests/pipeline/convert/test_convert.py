"""What goes in comes out: bytes, labels, names and order, for any number of workers."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.convert.driver import Outcome
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source, recognise
from swiftsiam.pipeline.sources.manifest import Manifest

Convert = Callable[..., Outcome]
PASSES_AS_IT_IS = {"one/a plain.jpg", "one/gray.jpg", "one/progressive.JPEG", "one/größe.jpg"}


def test_a_source_of_shards_is_the_folder(
    kinds_folder: Path, converted: dict[str, Path], to: str
) -> None:
    folder, shards = open_source(kinds_folder), open_source(converted[to])
    assert recognise(converted[to]) == shards.format == to
    assert len(shards) == len(folder) == 18
    assert shards.classes == folder.classes == ("one", "two")
    np.testing.assert_array_equal(shards.labels, folder.labels)
    keys = [folder.key(index) for index in range(18)]
    assert [shards.key(index) for index in range(18)] == keys
    for index, key in enumerate(keys):
        ours, theirs = shards.read(index), folder.read(index)
        assert shards.peek(index, 9)[1:] == (ours[:9], ours[-2:])
        np.testing.assert_array_equal(decode_rgb(ours), decode_rgb(theirs), key)
        if key in PASSES_AS_IT_IS or "magic" in key:
            assert ours == theirs, key
    assert len({shards.place(index) for index in range(18)}) == 18


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.engine(name, formats=("beton",)))
        for name, info in ENGINES.items()
        if info.reads_pictures
    ],
)
def test_every_engine_makes_the_folders_batches(
    kinds_folder: Path, converted: dict[str, Path], to: str, engine: str
) -> None:
    def batches(path: Path) -> list:
        loader = build_loader(
            source=open_source(path),
            specs=build_train_specs(AugmentConfig(size=24)),
            global_batch_size=6,
            train=True,
            engine=engine,
            num_workers=0,
        )
        with loader:
            return list(loader)

    for ours, theirs in zip(batches(converted[to]), batches(kinds_folder), strict=True):
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(ours.label, theirs.label)
        assert all(map(torch.equal, ours.views, theirs.views))


def digests(path: Path) -> dict[str, str]:
    files = path.parent.glob(f"{path.name}*") if path.is_file() else path.iterdir()
    files = filter(Path.is_file, files)  # beside a beton, what a killed conversion left
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_bytes_are_the_same_for_any_number_of_workers(
    kinds_folder: Path,
    converted: dict[str, Path],
    tmp_path: Path,
    convert_to: Convert,
    to: str,
    num_workers: int,
) -> None:
    target = tmp_path / converted[to].name
    convert_to(kinds_folder, target, to, shard_size=40_000, num_workers=num_workers)
    assert digests(target) == digests(converted[to])
    assert [path.name for path in tmp_path.iterdir() if "converting" in path.name] == []


def test_the_order_is_shuffled_by_the_seed(
    class_folder: Path, tmp_path: Path, convert_to: Convert, to: str
) -> None:
    orders = []
    for seed in (0, 1):
        target = tmp_path / str(seed) / ("x.beton" if to == "beton" else "x")
        target.parent.mkdir()
        convert_to(class_folder, target, to, seed=seed)
        orders.append(Manifest(target)["index"].tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(23))
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_what_is_converted_is_counted(
    kinds_folder: Path, tmp_path: Path, convert_to: Convert
) -> None:
    tar = convert_to(kinds_folder, tmp_path / "tar", "webdataset")
    assert tar.converted == {"CMYK JPEG": 1, "of another kind than JPEG and PNG": 2}
    smart = convert_to(kinds_folder, tmp_path / "s.beton", "beton")
    assert smart.converted == {"CMYK JPEG": 1, "PNG": 4, "no JPEG": 2}
    raw = convert_to(kinds_folder, tmp_path / "r.beton", "beton", mode="raw")
    assert raw.converted == {"CMYK JPEG": 1, "JPEG": 11, "PNG": 4, "no JPEG": 2}
    jpg = convert_to(kinds_folder, tmp_path / "j.beton", "beton", mode="jpg")
    assert jpg.converted == smart.converted
    assert not open_source(tmp_path / "j.beton").is_raw.any()
    assert open_source(tmp_path / "r.beton").is_raw.all()
    assert not tar.rejected
    assert tar.num_samples == 18


def test_bad_pictures_are_listed_and_the_rest_is_converted(
    tmp_path: Path, fill_folder: Callable[..., Path], convert_to: Convert, to: str
) -> None:
    folder = fill_folder(tmp_path / "data", {"ant": 4, "bee": 4})
    good = (folder / "ant/001.jpg").read_bytes()
    frame = good.index(b"\xff\xc0")
    (folder / "ant/000.jpg").write_bytes(good[: len(good) // 2])
    (folder / "bee/002.jpg").write_bytes(b"")
    bomb = good[: frame + 5] + b"\xff\xff\xff\xff" + good[frame + 9 :]
    (folder / "bee/003.jpg").write_bytes(bomb)
    target = tmp_path / ("x.beton" if to == "beton" else "x")
    outcome = convert_to(folder, target, to)
    assert outcome.rejected.keys() == {"ant/000.jpg", "bee/002.jpg", "bee/003.jpg"}
    listed = target.with_name("x.beton.rejected.csv") if to == "beton" else target / "rejected.csv"
    lines = listed.read_text().splitlines()
    assert lines[0] == "picture,reason"
    assert lines[2] == "bee/002.jpg,the file is empty"
    assert "65535x65535 is over the limit" in lines[3]
    source = open_source(target)
    assert source.labels.tolist() == [0, 0, 0, 1, 1]
    paths = sorted(folder.rglob("*.jpg"))
    kept = [path for path in paths if str(path.relative_to(folder)) not in outcome.rejected]
    assert [source.read(index) for index in range(5)] == [path.read_bytes() for path in kept]


def test_nothing_but_bad_pictures_is_refused(tmp_path: Path, convert_to: Convert, to: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.jpg").write_bytes(b"junk")
    target = tmp_path / ("x.beton" if to == "beton" else "x")
    with pytest.raises(UserError, match="none of its 1 pictures can be stored"):
        convert_to(tmp_path / "a", target, to)
    assert not target.exists()


def test_without_labels(
    tmp_path: Path,
    encode: Callable[..., bytes],
    draw_picture: Callable,
    convert_to: Convert,
    to: str,
) -> None:
    (tmp_path / "flat").mkdir()
    for number in range(3):
        (tmp_path / f"flat/{number}.jpg").write_bytes(encode(draw_picture(number, 20, 20)))
    target = tmp_path / ("x.beton" if to == "beton" else "x")
    convert_to(tmp_path / "flat", target, to)
    source = open_source(target)
    assert source.classes == ()
    assert source.labels.tolist() == [-1, -1, -1]


def test_pages_hold_whole_samples(
    tmp_path: Path, encode: Callable[..., bytes], draw_picture: Callable, convert_to: Convert
) -> None:
    """FFCV's own cache reads a sample that crosses a page's end wrongly, without a word."""
    (tmp_path / "a").mkdir()
    for number in range(5):
        data = encode(draw_picture(number, 700, 700), "BMP")
        (tmp_path / f"a/{number}.bmp").write_bytes(data)
    convert_to(tmp_path / "a", tmp_path / "x.beton", "beton", page_size=1 << 22)
    source = open_source(tmp_path / "x.beton")
    first = source.images["data_ptr"].astype(np.int64)
    last = first + source.sizes.astype(np.int64) - 1
    assert (first >> 22 == last >> 22).all()
    assert len(set((first >> 22).tolist())) == 3  # two to a page
    outcome = convert_to(
        tmp_path / "a", tmp_path / "y.beton", "beton", page_size=1 << 20, mode="jpg"
    )
    assert not outcome.rejected
    with pytest.raises(UserError, match="none of its 5"):
        convert_to(tmp_path / "a", tmp_path / "z.beton", "beton", page_size=1 << 20)


def test_shards_are_as_large_as_asked(
    class_folder: Path, tmp_path: Path, convert_to: Convert
) -> None:
    for to in ("webdataset", "tfrecord", "recordio"):
        convert_to(class_folder, tmp_path / to, to, shard_size=15_000)
        sizes = Manifest(tmp_path / to).head.files
        assert len(sizes) > 2
        assert max(sizes.values()) <= 15_000
        assert min(list(sizes.values())[:-1]) > 7_500
        names = sorted(sizes)
        assert names == list(sizes)
