"""The generated demo set: what it promises of its pictures and of its folder."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.demo import images as demo_images
from swiftsiam.pipeline.demo.motifs import (
    CLASSES,
    FIELDS,
    MAX_SIDE,
    MIN_SIDE,
    draw_picture,
)
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source

pytestmark = pytest.mark.slow

NUM_IMAGES = 400


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> demo_images.DemoImages:
    directory = tmp_path_factory.mktemp("demo") / "new" / "set"
    return demo_images.generate(directory, num_images=NUM_IMAGES, num_workers=2)


def _digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def _raw_knn_percent(demo: demo_images.DemoImages) -> float:
    """8×8 area means minus 0.5, cosine, k = 20, votes weighted by exp(similarity / 0.1)."""
    features, labels = {}, {}
    for part in (demo.train, demo.val):
        paths = sorted(part.glob("*/*.jpg"))
        pixels = [np.asarray(Image.open(p).resize((8, 8), Image.Resampling.BOX)) for p in paths]
        flat = np.stack(pixels).reshape(len(paths), -1) / 255 - 0.5
        features[part] = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        labels[part] = np.array([CLASSES.index(p.parent.name) for p in paths])
    similarity = features[demo.val] @ features[demo.train].T
    nearest = np.argsort(-similarity, axis=1)[:, :20]
    votes = np.zeros((len(similarity), len(CLASSES)))
    for row, columns in enumerate(nearest):
        np.add.at(votes[row], labels[demo.train][columns], np.exp(similarity[row, columns] / 0.1))
    return 100 * float(np.mean(votes.argmax(1) == labels[demo.val]))


def test_the_same_seed_and_number_give_the_same_bytes(tmp_path):
    first = demo_images.generate(tmp_path / "a", num_images=40, seed=3, num_workers=1)
    second = demo_images.generate(tmp_path / "b", num_images=40, seed=3, num_workers=2)
    assert first.num_drawn == second.num_drawn == 40
    assert _digests(tmp_path / "a") == _digests(tmp_path / "b")
    assert draw_picture(3, 0).tobytes() != draw_picture(4, 0).tobytes()


def test_a_larger_set_contains_the_smaller(tmp_path, demo):
    small = demo_images.generate(tmp_path / "small", num_images=40, num_workers=1)
    assert _digests(small.train).items() <= _digests(demo.train).items()
    assert _digests(small.val).items() <= _digests(demo.val).items()


def test_classes_are_balanced_in_both_parts(demo):
    assert (demo.num_train, demo.num_val, demo.num_drawn) == (300, 100, 400)
    for part, each in ((demo.train, 30), (demo.val, 10)):
        source = open_source(part)
        assert source.classes == CLASSES == tuple(sorted(FIELDS))
        assert Counter(source.labels.tolist()) == dict.fromkeys(range(10), each)


def test_pictures_are_jpegs_of_many_shapes(demo):
    shapes = set()
    for path in demo.val.glob("*/*.jpg"):
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert MIN_SIDE <= min(picture.size) <= max(picture.size) <= MAX_SIDE
            shapes.add(picture.size)
    assert len(shapes) > 90


def test_raw_pixels_say_nothing_of_the_class(demo):
    """Chance is 10; 100 pictures have a standard error of 3. (3,000 and 1,000 pictures: 8.9.)"""
    assert _raw_knn_percent(demo) < 20


def test_colours_say_nothing_of_the_class(demo):
    """Between classes the mean colour varies by no more than sampling explains."""
    means = np.array(
        [
            [np.asarray(Image.open(p)).mean((0, 1)) for p in sorted((demo.train / c).glob("*"))]
            for c in CLASSES
        ]
    )
    standard_error = means.std(axis=1).mean(0) / np.sqrt(means.shape[1])
    assert np.all(means.mean(1).std(0) < 2 * standard_error)


def test_no_pattern_is_nearly_empty_or_full():
    u, v = np.meshgrid(np.linspace(0, 8, 400), np.linspace(0, 8, 400))
    for name, field in FIELDS.items():
        inside = field(u, v) > 0
        assert 0.2 < inside.mean() < 0.8, name


def test_a_complete_set_is_reused_at_once(demo):
    before = {p: p.stat().st_mtime_ns for p in demo.train.glob("*/*")}
    again = demo_images.generate(demo.train.parent, num_images=NUM_IMAGES, num_workers=2)
    assert again.num_drawn == 0
    assert before == {p: p.stat().st_mtime_ns for p in demo.train.glob("*/*")}


def test_a_lost_picture_is_drawn_again(tmp_path):
    images = demo_images.generate(tmp_path, num_images=40, num_workers=1)
    before = _digests(tmp_path)
    lost = next(images.val.glob("hearts/*"))
    lost.unlink()
    assert demo_images.generate(tmp_path, num_images=40, num_workers=1).num_drawn == 1
    assert _digests(tmp_path) == before


_KILLED = """
import os, signal, sys
from swiftsiam.pipeline.demo import images as demo_images
from swiftsiam.pipeline.pool import run_tasks

def killed_amidst(draw, chunks, **settings):
    # Half of the chunks: the others are not drawn, however late the third result is taken.
    for number, done in enumerate(run_tasks(draw, chunks[: len(chunks) // 2], **settings)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield done

if __name__ == "__main__":
    demo_images.run_tasks = killed_amidst
    demo_images.generate(sys.argv[1], num_images=int(sys.argv[2]), num_workers=2)
"""


def test_a_killed_generation_is_carried_on(tmp_path, demo):
    directory, script = tmp_path / "set", tmp_path / "killed.py"
    script.write_text(_KILLED)
    process = subprocess.run([sys.executable, script, directory, str(NUM_IMAGES)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not (directory / "train").exists()
    assert not (directory / "val").exists()
    images = demo_images.generate(directory, num_images=NUM_IMAGES, num_workers=2)
    assert NUM_IMAGES // 2 <= images.num_drawn <= NUM_IMAGES - 3 * demo_images._CHUNK
    assert _digests(directory) == _digests(demo.train.parent)


def test_a_kill_while_the_parts_are_brought_out_is_mended(tmp_path):
    images = demo_images.generate(tmp_path, num_images=40, num_workers=1)
    before = _digests(tmp_path)
    work = tmp_path / ".swiftsiam-demo"
    work.mkdir()
    images.train.rename(work / "train")
    (work / "000000.jpg.1").write_bytes(b"half")
    assert demo_images.generate(tmp_path, num_images=40, num_workers=1).num_drawn == 0
    assert _digests(tmp_path) == before


@pytest.mark.parametrize("number", [-1, 0, 39])
def test_too_few_pictures_are_refused(tmp_path, number):
    with pytest.raises(UserError, match=f"--images={number}: give 40 or more"):
        demo_images.generate(tmp_path / "set", num_images=number, num_workers=1)
    assert not (tmp_path / "set").exists()


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(UserError, match="--seed=-1: give 0 or more"):
        demo_images.generate(tmp_path / "set", num_images=40, seed=-1, num_workers=1)


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(UserError, match=r"holds other files \('thesis.txt'\)"):
        demo_images.generate(tmp_path, num_images=40, num_workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_recipe_is_refused(demo):
    with pytest.raises(UserError, match="'num_images': 400"):
        demo_images.generate(demo.train.parent, num_images=40, num_workers=1)


def test_a_file_and_a_folder_that_cannot_be_made_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; give a new"):
        demo_images.generate(tmp_path / "file", num_images=40, num_workers=1)
    with pytest.raises(UserError, match="cannot be written"):
        demo_images.generate(tmp_path / "file" / "below", num_images=40, num_workers=1)


def test_two_at_once_are_refused(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match="another process is writing it"):
            demo_images.generate(tmp_path, num_images=40, num_workers=1)
    finally:
        os.close(descriptor)


def test_command(tmp_path, capsys):
    assert demo_images.main([str(tmp_path / "set"), "--images", "40", "--seed", "2"]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "30 pictures" in line
    assert "40 drawn" in line


def test_help(capsys):
    with pytest.raises(SystemExit) as exit_:
        demo_images.main(["--help"])
    assert exit_.value.code == 0
    assert "swiftsiam demo-data" in capsys.readouterr().out
