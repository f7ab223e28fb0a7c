"""`verify` finds any changed byte and names the sample; no damage crashes or hangs anything."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.convert.verify import verify
from swiftsiam.pipeline.convert.verify_command import main
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.progress import show_nothing
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.manifest import Manifest, checksum


@pytest.fixture
def copy(converted: dict[str, Path], to: str, tmp_path: Path) -> Path:
    """A conversion that may be damaged."""
    original = converted[to]
    if original.is_dir():
        return Path(shutil.copytree(original, tmp_path / original.name))
    for path in original.parent.glob(f"{original.name}*"):
        shutil.copy(path, tmp_path)
    return tmp_path / original.name


def files_of(target: Path) -> list[Path]:
    return sorted(target.iterdir() if target.is_dir() else target.parent.glob(f"{target.name}*"))


def find(target: Path, **options: object) -> list[str]:
    """What `verify` says; the manifest's own damage included."""
    settings: dict = {"source": None, "decodes": False, "num_workers": 1, "progress": show_nothing}
    try:
        problems = list(verify(target, **(settings | options)))
    except UserError as error:
        return [str(error)]
    return [f"{problem.file}: {problem.what}" for problem in problems]


def test_what_was_written_is_sound(copy: Path, kinds_folder: Path) -> None:
    assert find(copy) == []
    assert find(copy, source=kinds_folder, decodes=True) == []
    assert find(copy, num_workers=2) == []


def test_any_changed_byte_is_found(copy: Path) -> None:
    """In every file. Those of the shards are named with their sample, or as what they are."""
    generator = np.random.default_rng(0)
    shards = set(Manifest(copy).head.files)
    for path in files_of(copy):
        data = path.read_bytes()
        for place in generator.integers(0, len(data), 12).tolist():
            changed = bytearray(data)
            changed[place] ^= 1 << int(generator.integers(8))
            path.write_bytes(changed)
            found = find(copy)
            assert found, (path.name, place)
            if path.name in shards:
                assert len(found) == 1, found
                assert found[0].startswith(path.name)
        path.write_bytes(data)
    assert find(copy) == []


def test_the_damaged_sample_is_named(copy: Path) -> None:
    manifest = Manifest(copy)
    files = [files for files in files_of(copy) if files.name in manifest.head.files]
    for row in range(len(manifest)):
        path = files[int(manifest["shard"][row])]
        data = path.read_bytes()
        offset, length = int(manifest["offset"][row]), int(manifest["length"][row])
        for place in (offset, offset + length - 1):
            changed = bytearray(data)
            changed[place] ^= 1
            path.write_bytes(changed)
            (found,) = find(copy)
            assert (
                f"sample {manifest.key(row)!r} at byte {offset:,}: the picture is damaged" in found
            )
        path.write_bytes(data)


def test_what_stands_around_a_picture_is_compared(copy: Path, to: str) -> None:
    if to == "beton":
        pytest.skip("nothing stands around the pictures of a beton")
    manifest = Manifest(copy)
    path = copy / next(iter(manifest.head.files))
    data = bytearray(path.read_bytes())
    data[int(manifest["offset"][0]) - 5] ^= 1
    path.write_bytes(data)
    (found,) = find(copy)
    assert f"sample {manifest.key(0)!r}" in found
    assert "what stands around the picture is damaged" in found


def test_missing_and_shortened_files_are_named(copy: Path) -> None:
    shard = next(path for path in files_of(copy) if path.name in Manifest(copy).head.files)
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    assert find(copy) == [f"{shard.name}: has {len(data) - 1:,} bytes, not {len(data):,}"]
    with pytest.raises(UserError):
        open_source(copy)
    shard.unlink()
    if copy.is_dir():
        assert find(copy) == [f"{shard.name}: is missing"]
        with pytest.raises(UserError, match="is missing, and its manifest lists it"):
            open_source(copy)


def test_another_source_is_told(
    copy: Path, kinds_folder: Path, tmp_path: Path, encode: Callable[..., bytes]
) -> None:
    other = Path(shutil.copytree(kinds_folder, tmp_path / "other"))
    (other / "one/a plain.jpg").write_bytes(encode(np.zeros((9, 9, 3), np.uint8)))
    (other / "two/plain.png").write_bytes(encode(np.zeros((9, 9, 3), np.uint8), "PNG"))
    white = np.full((40, 56, 3), 255, np.uint8)  # of the old one's size
    (other / "two/picture.webp").write_bytes(encode(white, "WEBP", lossless=True))
    found = find(copy, source=other)
    assert len(found) == 3
    assert any("'two/picture.webp'" in text for text in found)
    assert any("'one/a plain.jpg'" in text for text in found)
    assert any("'two/plain.png'" in text for text in found)
    (other / "two/zzz.png").write_bytes(b"")
    assert find(copy, source=other)[0] == "--source: has 19 pictures, not 18"


def test_decoding_finds_what_was_damaged_before(
    tmp_path: Path, class_folder: Path, convert_to: Callable, to: str
) -> None:
    """Zeros amidst a JPEG: its ends are sound, so that converting lets it pass."""
    folder = Path(shutil.copytree(class_folder, tmp_path / "data"))
    path = folder / "ant/003.jpg"
    data = bytearray(path.read_bytes())
    table = data.index(b"\xff\xc4") + 5
    data[table : table + 16] = b"\xff" * 16
    path.write_bytes(data)
    target = tmp_path / ("x.beton" if to == "beton" else "x")
    convert_to(folder, target, to)
    assert find(target) == []
    (found,) = find(target, decodes=True)
    assert "sample 'ant/003.jpg'" in found
    assert "damaged JPEG" in found


def test_the_command(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(copy), "--workers=1"]) == 0
    assert f"sound: {copy}" in capsys.readouterr().out
    shard = next(path for path in files_of(copy) if path.name in Manifest(copy).head.files)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    assert main([str(copy), "--workers=1"]) == 1
    out = capsys.readouterr().out
    assert f"damaged: {shard.name}: " in out
    assert "failed: 1 damaged places" in out


def damage(data: bytes, generator: np.random.Generator) -> bytes:
    """Bits, runs, cuts and insertions at random."""
    kind = generator.integers(5)
    place = int(generator.integers(len(data)))
    run = int(generator.integers(1, 64))
    noise = generator.bytes(run)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + noise + data[place:]
    if kind == 2:
        return data[:place] + data[place + run :]
    if kind == 3:
        return data[:place] + noise + data[place + run :]
    return data[:place] + bytes([data[place] ^ 1 << int(generator.integers(8))]) + data[place + 1 :]


def use(target: Path) -> None:
    """All that reads shards: refuses with one line, or reads."""
    find(target)
    try:
        source = open_source(target)
    except UserError:
        return
    for index in range(len(source)):
        source.key(index)
        try:
            decode_rgb(source.read(index))
        except UserError:
            continue


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.campaign)])
def test_damaged_files_are_refused_or_named(copy: Path, count: int) -> None:
    generator = np.random.default_rng(count)
    files = files_of(copy)
    for _ in range(count):
        path = files[int(generator.integers(len(files)))]
        data = path.read_bytes()
        path.write_bytes(damage(data, generator))
        use(copy)
        path.write_bytes(data)


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.campaign)])
def test_a_manifest_that_lies_is_refused_or_harmless(copy: Path, count: int) -> None:
    """Its checksums are right, its values are not: nothing may be read outside of the files."""
    generator = np.random.default_rng(count)
    head_path = next(path for path in files_of(copy) if path.name.endswith("manifest.json"))
    text = head_path.read_text()
    for _ in range(count):
        fields = json.loads(text)
        del fields["checksum"]
        worse(fields, generator)
        blank = json.dumps(fields | {"checksum": "0" * 16}).encode()
        head_path.write_bytes(blank.replace(b"0" * 16, checksum(blank).encode()))
        use(copy)
    arrays_path = head_path.with_suffix(".npz")
    head_path.write_text(text)
    with np.load(arrays_path) as arrays:
        columns = dict(arrays)
    for _ in range(count):
        name = list(columns)[int(generator.integers(len(columns)))]
        column = columns[name].copy()
        limit = np.iinfo(column.dtype)
        values = [limit.max, limit.min, 0, 1, 2, limit.max // 2]
        for place in generator.integers(0, len(column), 2).tolist():
            column[place] = values[int(generator.integers(len(values)))]
        np.savez(arrays_path, **(columns | {name: column}))
        use(copy)


def worse(value: object, generator: np.random.Generator) -> None:
    """Change one thing in nested fields."""
    names = list(value) if isinstance(value, dict) else range(len(value))
    name = names[int(generator.integers(len(names)))]
    inner = value[name]
    if isinstance(inner, dict | list) and len(inner) and generator.random() < 0.8:
        worse(inner, generator)
        return
    values = [None, "", "x", -1, 0, 1, 3, 2**62, 2**70, [], {}, [[]], 1.5, True, "../../x"]
    value[name] = values[int(generator.integers(len(values)))]
