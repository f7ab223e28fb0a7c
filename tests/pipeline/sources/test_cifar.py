"""CIFAR's own files: both versions, what is refused, and pickles that are not trusted."""

import io
import multiprocessing
import os
import pickle
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import open_source, recognise
from swiftsiam.pipeline.sources.cifar import CifarSource

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FINE = [f"fine{number:02}" for number in range(100)]
BATCHES = {f"data_batch_{number}": 4 for number in range(1, 12)}
"""Eleven, so that the order by number is not the order by name."""


def draw(name: str, count: int, num_classes: int) -> tuple[np.ndarray, list[int]]:
    """(count, 32, 32, 3) uint8 pictures and their labels."""
    random = np.random.default_rng(list(name.encode()))
    pixels = random.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return pixels, random.integers(0, num_classes, count).tolist()


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def integers(numbers: Iterable[int]) -> bytes:
    return b"](" + b"".join(b"J" + struct.pack("<i", number) for number in numbers) + b"e"


def python2_array(rows: np.ndarray) -> bytes:
    """As Python 2 pickled an array."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\7cnumpy\nndarray\nq\10K\0\x85q\tU\1b\x87q\nRq\x0b"
        b"(K\1" + b"".join(b"J" + struct.pack("<i", side) for side in rows.shape) + b"\x86q\x0c"
        b"cnumpy\ndtype\nq\x0dU\2u1q\x0eK\0K\1\x87q\x0fRq\x10(K\3U\1|q\x11NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x12b\x89"
        b"T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tq\x13b"
    )


def python2_batch(pixels: np.ndarray, labels: list[int], key: bytes = b"labels") -> bytes:
    head = b"\x80\2}q\1(" + short(b"batch_label") + b"q\2" + short(b"training batch") + b"q\3"
    return head + short(key) + integers(labels) + short(b"data") + python2_array(
        planes(pixels)
    ) + b"u."  # fmt: skip


def python2_names(key: bytes, names: list[str]) -> bytes:
    listed = b"".join(short(name.encode()) for name in names)
    return b"\x80\2}q\1(" + short(key) + b"](" + listed + b"eu."


def write_binary(folder: Path) -> Path:
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    (folder / "readme.html").write_text("<html>")
    for name, count in {**BATCHES, "test_batch": 3}.items():
        pixels, labels = draw(name, count, 10)
        records = np.column_stack([np.array(labels, np.uint8), planes(pixels)])
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def write_python(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "batches.meta").write_bytes(python2_names(b"label_names", NAMES))
    for name, count in {**BATCHES, "test_batch": 3}.items():
        (folder / name).write_bytes(python2_batch(*draw(name, count, 10)))
    return folder


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    return write_binary(tmp_path / "cifar-10-batches-bin")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return write_python(tmp_path / "cifar-10-batches-py")


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


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("data_batch_2.bin"), r"data_batch_2.bin: is missing; unpack"),
        (remove("data_batch_1.bin"), r"data_batch_1.bin: is missing; unpack"),
        (write("data_batch_2.bin", b"\0" * 3074), "3,074 bytes are no whole number of records"),
        (write("data_batch_2.bin", b""), "0 bytes are no whole number"),
        (write("data_batch_2.bin", b"\x0a" * 3073), "labels from 10 to 10, of 10 classes"),
        (write("batches.meta.txt", b"ant\nbee\n"), "not 10 class names"),
        (write("batches.meta.txt", b"a b c d e f g h i a"), "a stands twice"),
        (write("batches.meta.txt", b"a b c d e f g h i \xff"), "damaged: .*decode"),
    ],
)
def test_binary_refusals(binary: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(binary)
    with pytest.raises(UserError, match=message) as caught:
        open_source(binary, field="DATA")
    assert str(caught.value).startswith(f"DATA={binary}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["binary", "python"])
def test_the_training_part_is_not_validated_on(
    version: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(version)
    test = next(root.glob("test_batch*"))
    with pytest.raises(UserError, match=f"is the training part; give data.val_path={test}$"):
        open_source(root, field="data.val_path")
    test.unlink()
    assert len(open_source(root, field="data.val_path")) == 44


def test_a_test_part_alone_is_named(binary: Path) -> None:
    for batch in binary.glob("data_batch_*"):
        batch.unlink()
    with pytest.raises(UserError, match="no data_batch_1 and no train; give its test file itself"):
        open_source(binary)


PIXELS, LABELS = draw("refused", 2, 10)
BATCH = python2_batch(PIXELS, LABELS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "it asks for os.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "it asks for __builtin__.eval"),
        (BATCH.replace(b"numpy\ndtype", b"numpy\nload."), "it asks for numpy.load."),
        (b"cnumpy\nndarray\n)R.", "it calls what is no array"),
        (b"\x80\2}}b.", "it changes what is no array"),
        (b"\x80\2}))s.", "a key that is no name"),
        (b"\x80\2](K\1K\1u.", "items of what is no dictionary"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)}), "no pickle as Python 2 wrote it"),
        (b"\x80\2}r\xff\xff\xff\xff.", "no pixels"),  # a memo that C would fill 64 GB with
        (b"\x80\2].", "no dictionary"),
        (b"", "damaged"),
        (BATCH[:-40], "ends too early"),
        (BATCH.replace(b"U\2u1", b"U\2i1"), "another type than uint8"),
        (BATCH.replace(b"J\2\0\0\0J", b"J\3\0\0\0J"), r"shape \(3, 3072\) in 6,144 bytes"),
        (BATCH.replace(b"labels", b"labelz"), "no list of labels"),
        (python2_batch(PIXELS, [1]), "1 labels of 2 pictures"),
        (python2_batch(PIXELS, [1, 10]), "labels from 1 to 10, of 10 classes"),
    ],
)
def test_pickles_are_not_trusted(python: Path, data: bytes, message: str) -> None:
    (python / "data_batch_1").write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        open_source(python)
    assert str(caught.value).startswith(f"data.path={python}/data_batch_1: damaged")
    assert "\n" not in str(caught.value)


def test_a_pickle_of_protocol_0_names_the_classes(python: Path) -> None:
    names = b"".join(b"S'%s'\np%d\na" % (name.encode(), i) for i, name in enumerate(NAMES, 5))
    (python / "batches.meta").write_bytes(b"(dp1\nS'label_names'\np2\n(lp3\n" + names + b"s.")
    assert open_source(python).classes == tuple(NAMES)


@pytest.mark.parametrize("name", ["data_batch_1.bin", "data_batch_1", "batches.meta"])
def test_damaged_files_are_refused_or_read(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue("binary" if name.endswith(".bin") else "python")
    whole = (root / name).read_bytes()
    # Flips where they matter: pixels may be anything.
    heads = min(len(whole), 120)
    tail = max(len(whole) - 60, 0)
    random = np.random.default_rng(0)
    refusals = []
    for number in range(160):
        data = bytearray(whole)
        if number % 2:
            del data[random.integers(len(data)) :]
        for _ in range(number % 4):
            at = int(random.choice([random.integers(heads), random.integers(tail, len(whole))]))
            data[min(at, len(data) - 1) if data else 0 : at + 1] = bytes([random.integers(256)])
        (root / name).write_bytes(data)
        try:
            source = CifarSource(root)
            for index in range(len(source)):
                decode_rgb(source.read(index))
        except (UserError, BadSampleError) as error:
            refusals.append(str(error))
    assert 40 < len(refusals) < 160
    assert "\n" not in "".join(refusals)


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
