"""CIFAR's own files: both versions, and what is taken for one."""

import io
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source, recognise
from swiftsiam.pipeline.sources.cifar import CifarSource

from .cifars import BATCHES, FINE, NAMES, draw, planes, python2_batch, python2_names, write_python


@pytest.mark.parametrize("version", ["binary", "python"])
def test_reads_what_a_folder_of_the_same_pictures_does(
    version: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    drawn = [draw(name, count, 10) for name, count in BATCHES.items()]
    labels = [label for _, some in drawn for label in some]
    for name in NAMES:
        (tmp_path / "png" / name).mkdir(parents=True)
        Image.new("RGB", (1, 1)).save(tmp_path / "png" / name / "last.png")  # a class of each name
    for number, picture in enumerate(np.concatenate([pixels for pixels, _ in drawn])):
        Image.fromarray(picture).save(tmp_path / "png" / NAMES[labels[number]] / f"{number:03}.png")
    folder = open_source(tmp_path / "png")
    at = {Path(folder.key(index)).stem: index for index in range(len(folder))}
    source = open_source(request.getfixturevalue(version))
    assert (source.format, source.classes) == ("cifar", folder.classes)
    assert len(source) == 44
    for index in range(len(source)):
        same = at[f"{index:03}"]
        assert source.labels[index] == folder.labels[same]
        assert np.array_equal(decode_rgb(source.read(index)), decode_rgb(folder.read(same)))


def test_a_picture_is_a_file_that_others_can_read(binary: Path) -> None:
    image = Image.open(io.BytesIO(open_source(binary).read(5)))
    assert image.format == "PPM"
    assert np.array_equal(np.asarray(image), draw("data_batch_2", 4, 10)[0][1])


def test_peek_and_place_tell_of_the_record(binary: Path) -> None:
    source = open_source(binary)
    data, peek = source.read(43), source.peek(43, 16)
    assert (peek.size, peek.head, peek.tail) == (len(data), data[:16], data[-2:])
    status = (binary / "data_batch_11.bin").stat()
    assert source.place(43) == (status.st_dev, status.st_ino, 3)
    assert len({source.place(index) for index in range(44)}) == 44


@pytest.mark.parametrize(("version", "suffix"), [("binary", ".bin"), ("python", "")])
def test_one_file_is_that_file_alone_and_the_folder_leaves_the_test_part_out(
    version: str, suffix: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(version)
    assert open_source(root).left_out == (("files of the test part", 1),)
    test = open_source(root / f"test_batch{suffix}")
    assert [test.key(index) for index in range(3)] == [f"test_batch{suffix}:{i}" for i in range(3)]
    assert test.labels.tolist() == draw("test_batch", 3, 10)[1]
    assert test.left_out == ()


def test_the_binary_version_goes_first(binary: Path) -> None:
    write_python(binary)
    assert open_source(binary).key(0) == "data_batch_1.bin:0"


@pytest.mark.parametrize("suffix", [".bin", ""])
def test_cifar100_has_its_fine_labels(tmp_path: Path, suffix: str) -> None:
    for name in ("train", "test"):
        pixels, labels = draw(name, 5, 100)
        columns = [np.full(5, 7, np.uint8), np.array(labels, np.uint8), planes(pixels)]
        data = np.column_stack(columns).tobytes()
        (tmp_path / f"{name}{suffix}").write_bytes(
            data if suffix else python2_batch(pixels, labels, b"fine_labels")
        )
    if suffix:
        (tmp_path / "fine_label_names.txt").write_text("\n".join(FINE))
    else:
        (tmp_path / "meta").write_bytes(python2_names(b"fine_label_names", FINE))
    for path, name in ((tmp_path, "train"), (tmp_path / f"test{suffix}", "test")):
        source = open_source(path)
        pixels, labels = draw(name, 5, 100)
        assert source.format == "cifar"
        assert source.classes == tuple(FINE)
        assert source.labels.tolist() == labels
        assert np.array_equal(decode_rgb(source.read(2)), pixels[2])


@pytest.mark.parametrize("version", ["binary", "python"])
def test_without_names_classes_are_numbers(version: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(version)
    for meta in root.glob("batches.meta*"):
        meta.unlink()
    if version == "python":  # names without an extension alone say too little
        assert recognise(root) == "folder"
    assert CifarSource(root).classes == tuple("0123456789")


def test_digest_tells_other_labels_and_files(binary: Path, python: Path) -> None:
    digests = {open_source(path).digest for path in (binary, python, binary / "data_batch_2.bin")}
    assert len(digests) == 3
    assert open_source(binary).digest in digests
    path = binary / "data_batch_1.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert open_source(binary).digest not in digests


@pytest.mark.slow
def test_another_process_reads_the_same(binary: Path) -> None:
    source = open_source(binary)
    assert len(pickle.dumps(source)) < 2000
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert pool.apply(CifarSource.read, (source, 17)) == source.read(17)


def test_a_changed_file_does_not_unpickle(binary: Path) -> None:
    pickled = pickle.dumps(open_source(binary))
    assert len(pickle.loads(pickled)) == 44
    os.utime(binary / "data_batch_3.bin", ns=(1, 1))
    with pytest.raises(UserError, match="has changed since it was opened"):
        pickle.loads(pickled)


def test_a_pickle_of_protocol_0_names_the_classes(python: Path) -> None:
    names = b"".join(b"S'%s'\np%d\na" % (name.encode(), i) for i, name in enumerate(NAMES, 5))
    (python / "batches.meta").write_bytes(b"(dp1\nS'label_names'\np2\n(lp3\n" + names + b"s.")
    assert open_source(python).classes == tuple(NAMES)


@pytest.mark.parametrize("entry", ["bird/x.png", "x.png"])
def test_batches_beside_pictures_are_none(binary: Path, entry: str) -> None:
    (binary / entry).parent.mkdir(exist_ok=True)
    Image.new("RGB", (2, 2)).save(binary / entry)
    assert recognise(binary) == "folder"


def test_of_class_folders_one_entry_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
    seen = []
    monkeypatch.setattr(
        "swiftsiam.pipeline.sources.look.is_hidden", lambda name: bool(seen.append(name))
    )
    assert recognise(tmp_path) == "folder"
    assert len(seen) == 1


def test_the_look_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1100):
        (tmp_path / f"{number:04}").touch()
    seen = []
    monkeypatch.setattr(
        "swiftsiam.pipeline.sources.look.is_hidden", lambda name: bool(seen.append(name))
    )
    assert recognise(tmp_path) == "folder"
    assert len(seen) == 1000
