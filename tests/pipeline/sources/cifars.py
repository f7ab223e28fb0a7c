"""CIFAR's own files, in both versions, as the tests need them."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

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
