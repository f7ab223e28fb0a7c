"""An index of shards whose manifest is lost gives back what the manifest said."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.convert.verify import verify
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.index.command import main
from swiftsiam.pipeline.index.contract import Fields
from swiftsiam.pipeline.index.driver import index_folder
from swiftsiam.pipeline.progress import show_nothing
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.manifest import JPEG, Manifest


@pytest.fixture(params=["webdataset", "tfrecord", "recordio"])
def bare(request: pytest.FixtureRequest, converted: dict[str, Path], tmp_path: Path) -> Path:
    """Shards alone, in a folder named after their format."""
    target = tmp_path / request.param
    target.mkdir()
    for name in Manifest(converted[request.param]).head.files:
        shutil.copy(converted[request.param] / name, target)
    return target


def test_the_listing_is_that_of_the_source(bare: Path, converted: dict[str, Path]) -> None:
    outcome = index_folder(bare, fields=Fields(), num_workers=2, progress=show_nothing)
    known, found = open_source(converted[bare.name]), open_source(bare)
    assert (outcome.num_samples, outcome.format, outcome.damaged) == (18, bare.name, [])
    assert found.classes == ("0", "1")
    assert found.labels.tolist() == known.labels.tolist()
    assert [found.read(n) for n in range(18)] == [known.read(n) for n in range(18)]
    before, after = Manifest(converted[bare.name]), Manifest(bare)
    for name in ("index", "shard", "offset", "length", "width", "height", "pieces", "checksum"):
        assert after[name].tolist() == before[name].tolist(), name
    assert np.array_equal(after["kind"] == JPEG, before["kind"] == JPEG)


def test_workers_change_nothing(bare: Path) -> None:
    manifests = []
    for workers in (1, 2):
        index_folder(bare, fields=Fields(), num_workers=workers, progress=show_nothing)
        paths = bare / "manifest.json", bare / "manifest.npz"
        manifests.append([path.read_bytes() for path in paths])
        for path in paths:
            path.unlink()
    assert manifests[0] == manifests[1]


def find(target: Path, **options: object) -> list[str]:
    settings: dict = {"source": None, "decodes": False, "num_workers": 1, "progress": show_nothing}
    return [f"{one.file}: {one.what}" for one in verify(target, **(settings | options))]


def test_verify_finds_any_changed_byte(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small blocks, so that pictures lie in several.
    monkeypatch.setattr("swiftsiam.pipeline.index.sequential.BLOCK", 3000)
    monkeypatch.setattr("swiftsiam.pipeline.index.driver.BLOCK", 3000)
    index_folder(bare, fields=Fields(), num_workers=1, progress=show_nothing)
    assert find(bare) == find(bare, num_workers=2, decodes=True) == []
    manifest = Manifest(bare)
    assert len(manifest.head.parts) > 20
    name = list(manifest.head.files)[1]
    rows = np.flatnonzero(manifest["shard"] == 1)
    data = (bare / name).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), 40).tolist():
        changed = bytearray(data)
        changed[place] ^= 4
        (bare / name).write_bytes(changed)
        (found, *more) = find(bare)
        begins, lengths = manifest["offset"][rows], manifest["length"][rows]
        inside = rows[(begins <= place) & (place < begins + lengths)].tolist()
        if inside and manifest["pieces"][inside[0]] == 1:
            assert found.startswith(f"{name}: sample {manifest.key(inside[0])!r} at byte ")
        assert name in found
        assert len(more) <= 1  # a picture in pieces may be hurt in two blocks
    (bare / name).write_bytes(data[:-1])
    assert find(bare) == [f"{name}: has {len(data) - 1:,} bytes, not {len(data):,}"]
    (bare / name).write_bytes(data)
    with pytest.raises(UserError, match="indexed, not converted"):
        find(bare, source=bare)


def test_a_folder_of_shards_says_what_to_do(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=f"without a manifest.*swiftsiam index {bare}"):
        open_source(bare)
    assert main([str(bare), "--workers=1"]) == 0
    assert "18 pictures  2 classes" in capsys.readouterr().out
    assert len(open_source(bare)) == 18
    with pytest.raises(UserError, match=r"has a manifest \(manifest.json\) already"):
        main([str(bare)])


def test_what_cannot_be_indexed_is_told(
    bare: Path, tmp_path: Path, fill_folder: Callable[..., Path]
) -> None:
    def reason(folder: Path) -> str:
        with pytest.raises(UserError) as caught:
            main([str(folder), "--workers=1"])
        assert not (folder / "manifest.json").exists()
        return str(caught.value)

    assert "is no folder" in reason(tmp_path / "nowhere")
    assert "no shards in it" in reason(fill_folder(tmp_path / "folder", {"ant": 1}))
    first, second, *_ = sorted(bare.iterdir())
    data = first.read_bytes()
    first.write_bytes(b"")
    assert "is empty" in reason(bare) if first.suffix else True
    first.write_bytes(b"\x1f\x8b" + data)
    assert f"{first.name} is a compressed archive" in reason(bare)
    first.write_bytes(b"junk" + data)
    assert f"{first.name} is damaged at its beginning" in reason(bare)
    first.write_bytes(data[: len(data) * 2 // 3])
    end = second.read_bytes()
    second.write_bytes(end[: len(end) // 3])
    told = reason(bare)
    assert "2 of " in told
    assert f"{first.name}: cut off" in told
    assert f"{second.name}: cut off" in told


def test_a_folder_that_cannot_be_written_to(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("swiftsiam.pipeline.index.driver.write_atomically", refuse)
    with pytest.raises(UserError, match=r"cannot be written to it.*links to the shards"):
        index_folder(bare, fields=Fields(), num_workers=1, progress=show_nothing)


def test_shards_of_two_formats(converted: dict[str, Path], tmp_path: Path) -> None:
    for to in ("tfrecord", "recordio"):
        shutil.copy(converted[to] / next(iter(Manifest(converted[to]).head.files)), tmp_path)
    with pytest.raises(UserError, match=r"several formats: recordio \(.*\), tfrecord \("):
        main([str(tmp_path)])
