"""CIFAR's files that are refused, and pickles that are not trusted."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.cifar import CifarSource

from .cifars import draw, python2_batch


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
