"""`swiftsiam convert` as users call it, and what it refuses before it begins."""

from collections.abc import Callable
from pathlib import Path

import pytest
from swiftsiam.pipeline.convert.command import main
from swiftsiam.pipeline.errors import UserError


def test_it_says_what_it_did(
    kinds_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "shards"
    assert main([str(kinds_folder), str(target), "--to=tfrecord", "--workers=1"]) == 0
    out = capsys.readouterr().out
    assert f"done: {target}  18 pictures" in out
    assert "converted    1 CMYK JPEG" in out
    assert "images/s" in out


def test_bad_pictures_make_it_fail_in_the_end(
    tmp_path: Path, fill_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill_folder(tmp_path / "data", {"ant": 4})
    for number in (1, 2):
        (folder / f"ant/00{number}.jpg").write_bytes(b"junk")
    command = [str(folder), "--to=webdataset", "--workers=1"]
    assert main([*command, str(tmp_path / "a")]) == 1
    out = capsys.readouterr().out
    assert "left out     2, listed in " in out
    assert "ant/001.jpg: cannot be decoded" in out
    assert "failed: 2 pictures are left out, and --max-bad is 0" in out
    assert main([*command, str(tmp_path / "b"), "--max-bad=1"]) == 1
    assert main([*command, str(tmp_path / "c"), "--max-bad=2"]) == 0
    assert (tmp_path / "a/rejected.csv").exists()


def test_fewer_shards_than_readers(
    class_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("swiftsiam.pipeline.convert.command.num_cores", lambda: 3)
    for to, is_told in (("tfrecord", True), ("beton", False)):
        target = tmp_path / ("set.beton" if to == "beton" else "shards")
        assert main([str(class_folder), str(target), f"--to={to}", "--workers=1"]) == 0
        told = "1 shards are fewer than this machine's 3 cores" in capsys.readouterr().out
        assert told == is_told


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("x", ["--to=beton"], "--to beton writes to a name that ends in .beton"),
        ("x.beton", ["--to=tfrecord"], "--to tfrecord writes to a folder"),
        ("no/x", ["--to=tfrecord"], "its folder does not exist"),
        ("data/x", ["--to=tfrecord"], "lies in SRC, which is never changed"),
        ("data", ["--to=tfrecord"], "lies in SRC, which is never changed"),
        ("there", ["--to=tfrecord"], "exists already"),
        ("x", ["--to=zip"], "invalid choice: 'zip'"),
        ("x.beton", ["--to=beton", "--page-size=3"], "must be a power of two"),
        ("x", ["--to=tfrecord", "--workers=0"], "must be 1 to 1,024"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    class_folder: Path, tmp_path: Path, target: str, options: list[str], message: str
) -> None:
    (tmp_path / "data").symlink_to(class_folder)
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        main([str(tmp_path / "data"), str(tmp_path / target), *options])
    assert sorted(tmp_path.iterdir()) == before
