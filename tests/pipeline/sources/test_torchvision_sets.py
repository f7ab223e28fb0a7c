"""Data sets of torchvision by name: listed as the set lists, files untouched, arrays as PNG."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import open_source, recognise
from swiftsiam.pipeline.sources.torchvision_spec import read_spec
from torchvision import datasets

Encode = Callable[..., bytes]
Draw = Callable[..., np.ndarray]
FAKE = "torchvision:FakeData,size=12,image_size=3,20,24,num_classes=3"


@pytest.fixture
def pictures(encode: Encode, draw_picture: Draw) -> list[bytes]:
    """Eight JPEG files."""
    return [encode(draw_picture(number, 40, 48)) for number in range(8)]


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_idx(root: Path, count: int = 9) -> np.ndarray:
    """MNIST's training files; returns (count, 28, 28) uint8 pixels. Labels are 0, 1, ..., 8."""
    pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
    sizes = b"".join(side.to_bytes(4, "big") for side in (count, 28, 28))
    files = {
        "train-images-idx3-ubyte": b"\0\0\x08\3" + sizes + pixels.tobytes(),
        "train-labels-idx1-ubyte": b"\0\0\x08\1" + sizes[:4] + bytes(range(count)),
    }
    files |= {name.replace("train", "t10k"): data for name, data in files.items()}
    write(root / "MNIST" / "raw", files)
    return pixels


def image_folder(root: Path, pictures: list[bytes]) -> str:
    write(root, {f"{'abc'[n % 3]}/{n}.jpg": data for n, data in enumerate(pictures)})
    return f"torchvision:ImageFolder,root={root}"


def food(root: Path, pictures: list[bytes]) -> str:
    names = [f"{'xyz'[n % 3]}/{n}" for n in range(len(pictures))]
    files = {f"images/{name}.jpg": data for name, data in zip(names, pictures, strict=True)}
    listed = {label: [name for name in names if name[0] == label] for label in "xyz"}
    files["meta/train.json"] = json.dumps(listed).encode()
    write(root / "food-101", files)
    return f"torchvision:Food101,root={root}"


def caltech(root: Path, pictures: list[bytes]) -> str:
    """Opens its files itself, and leaves them undecoded."""
    names = {
        f"{n % 2 + 1:03}.{'ab'[n % 2]}/{n % 2 + 1:03}_{n // 2 + 1:04}.jpg": n for n in range(8)
    }
    top = root / "caltech256" / "256_ObjectCategories"
    write(top, {name: pictures[number] for name, number in names.items()})
    return f"torchvision:Caltech256,root={root}"


def pets(root: Path, pictures: list[bytes]) -> str:
    """Decodes its files itself, and lists them in an attribute."""
    lines = [f"{'Cat_a' if n % 2 else 'dog_b'}_{n} {n % 2 + 1} {2 - n % 2} 1" for n in range(8)]
    files = {f"images/{line.split()[0]}.jpg": pictures[n] for n, line in enumerate(lines)}
    files["annotations/trainval.txt"] = "\n".join(lines).encode()
    write(root / "oxford-iiit-pet", files)
    return f"torchvision:OxfordIIITPet,root={root}"


def signs(root: Path, pictures: list[bytes]) -> str:
    ppm = b"P6 2 1 255\n"
    files = {f"{n // 2:05}/{n}.ppm": ppm + bytes([n] * 6) for n in range(8)}
    write(root / "gtsrb" / "GTSRB" / "Training", files)
    return f"torchvision:GTSRB,root={root}"


def own(text: str) -> datasets.VisionDataset:
    """The set itself, as a user of torchvision makes it."""
    spec = read_spec(text)
    return getattr(datasets, spec.name)(**spec.arguments)


KEPT = (image_folder, food, caltech, pets, signs)


@pytest.mark.parametrize("make", KEPT)
def test_files_are_listed_as_the_set_does_and_pass_untouched(
    make: Callable[..., str], tmp_path: Path, pictures: list[bytes]
) -> None:
    text = make(tmp_path, pictures)
    source, expected = open_source(text), own(text)
    assert source.format == recognise(text) == "torchvision"
    assert len(source) == len(expected) == 8
    on_disk = {path.stat().st_ino: path.read_bytes() for path in tmp_path.rglob("*.[jp]*[gm]")}
    for index in range(8):
        picture, label = expected[index]
        assert source.labels[index] == label
        data = source.read(index)
        assert data == on_disk[source.place(index)[1]]
        assert data == (tmp_path / source.key(index)).read_bytes()
        assert np.array_equal(decode_rgb(data), np.asarray(picture.convert("RGB")))
        peek = source.peek(index, 5)
        assert (peek.size, peek.head, peek.tail) == (len(data), data[:5], data[-2:])
        picture.close()
    names = getattr(expected, "classes", None) or getattr(expected, "categories", list("0123"))
    assert source.classes == tuple(names)


def test_arrays_are_png_of_the_same_pixels(tmp_path: Path) -> None:
    pixels = write_idx(tmp_path)
    source = open_source(f"torchvision:MNIST,root={tmp_path}")
    assert source.classes[:2] == ("0 - zero", "1 - one")
    assert source.labels.tolist() == list(range(9))
    for index in range(9):
        data, peek = source.read(index), source.peek(index, 4)
        assert (data[1:4], source.key(index)) == (b"PNG", f"MNIST:{index}")
        assert (peek.size, peek.head, peek.tail) == (len(data), data[:4], data[-2:])
        assert np.array_equal(decode_rgb(data)[:, :, 1], pixels[index])


def test_without_class_numbers_there_are_no_labels(tmp_path: Path, pictures: list[bytes]) -> None:
    files = {f"images/test/{n}.png": data for n, data in enumerate(pictures)}
    write(tmp_path / "clevr" / "CLEVR_v1.0", files | {"scenes/none.json": b""})
    source = open_source(f"torchvision:CLEVRClassification,root={tmp_path},split=test")
    assert (source.classes, source.labels.tolist()) == ((), [-1] * 8)


def test_a_second_set_of_labels_has_its_own_classes(tmp_path: Path, pictures: list[bytes]) -> None:
    source = open_source(pets(tmp_path, pictures) + ",target_types=binary-category")
    assert source.classes == ("Cat", "Dog")
    assert source.labels.tolist() == [1, 0] * 4


@pytest.fixture
def add_set(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make FakeData with other items or attributes a set of torchvision's."""

    def add_set(change: Callable[..., object] = lambda *item: item, **attributes: object) -> str:
        class Changed(datasets.FakeData):
            def __getitem__(self, index: int) -> object:
                return change(*super().__getitem__(index))

        for name, value in attributes.items():
            setattr(Changed, name, value)
        monkeypatch.setattr(datasets, "Changed", Changed, raising=False)
        monkeypatch.setattr(datasets, "__all__", ("Changed",))
        return FAKE.replace("FakeData", "Changed")

    return add_set


@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels"])
def test_an_attribute_is_believed_where_the_set_agrees(
    attribute: str, add_set: Callable[..., str]
) -> None:
    expected = [label for _, label in own(FAKE)]
    wrong = [*expected[:-1], 3]
    for values in (wrong, expected[:-1], np.array(expected) + 0.5, [[label] for label in expected]):
        assert open_source(add_set(**{attribute: values})).labels.tolist() == expected
    calls: list[int] = []
    many = add_set(lambda *item: calls.append(1) or item).replace("size=12", "size=500")
    expected = open_source(many).labels.tolist()
    assert len(calls) > 500
    calls.clear()
    text = add_set(lambda *item: calls.append(1) or item, **{attribute: expected})
    assert open_source(text.replace("size=12", "size=500")).labels.tolist() == expected
    assert len(calls) < 100


def test_names_of_classes_are_unique_texts(add_set: Callable[..., str]) -> None:
    source = open_source(add_set(classes=[("crane",), ("tench", "Tinca tinca"), "crane"]))
    assert source.classes == ("crane (0)", "tench, Tinca tinca", "crane (2)")
    assert open_source(add_set(classes=["too", "few"])).classes == ("0", "1", "2")
    assert open_source(add_set(class_to_idx={"c": 2, "a": 1, "b": 0})).classes == ("b", "a", "c")


@pytest.mark.parametrize("mode", ["F", "I", "CMYK"])
def test_what_no_png_holds_is_a_bad_sample(mode: str, add_set: Callable[..., str]) -> None:
    source = open_source(
        add_set(lambda picture, label: (picture.convert("L").convert(mode), label))
    )
    with pytest.raises(BadSampleError, match=f"is of Pillow's mode {mode}"):
        source.read(3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_modes_of_png_are_kept(mode: str, add_set: Callable[..., str]) -> None:
    source = open_source(add_set(lambda picture, label: (picture.convert(mode), label)))
    with Image.open(io.BytesIO(source.read(1))) as image:
        expected = own(FAKE)[1][0].convert(mode)
        assert image.convert("RGBA").tobytes() == expected.convert("RGBA").tobytes()
        assert image.mode == mode


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda picture, label: (picture, "a dog"), "its targets are text, no class numbers"),
        (lambda picture, label: (picture, {"boxes": []}), "its targets are annotations"),
        (lambda picture, label: (picture, picture), "its targets are pictures"),
        (lambda picture, label: (picture, [1, 2]), "its targets are lists"),
        (lambda picture, label: (picture, np.zeros(40)), "its targets are arrays"),
        (lambda picture, label: (picture, 1.5), "its targets are measures"),
        (lambda picture, label: (picture, -2), "its targets are negative numbers"),
        (lambda picture, label: (picture, True), "its targets are yes or no"),
        (lambda picture, label: (np.asarray(picture), label), "its items are no pictures"),
        (lambda picture, label: (picture, picture, label), "its items are no pictures"),
        (lambda picture, label: 1 / 0, r"cannot be listed \(division by zero\); check root"),
        (lambda picture, label: __import__("nobody"), "needs nobody, which is not installed"),
    ],
)
def test_sets_of_something_else_are_refused(
    change: Callable[..., object], message: str, add_set: Callable[..., str]
) -> None:
    with pytest.raises(UserError, match=f"^DATA=torchvision:Changed.*: {message}") as caught:
        open_source(add_set(change), field="DATA")
    assert "\n" not in str(caught.value)
