"""Pictures in memory are a source as any other."""

import pickle

import numpy as np
from swiftsiam.pipeline.sources import Source
from swiftsiam.pipeline.sources.memory import MemorySource


def test_pictures_in_memory_are_a_source() -> None:
    source: Source = MemorySource([b"first", b"second"], labels=np.array([1, 0]))
    assert len(source) == 2
    assert source.read(1) == b"second"
    assert source.peek(1, 3) == (6, b"sec", b"nd")
    assert source.classes == ("0", "1")
    assert source.labels.tolist() == [1, 0]
    assert source.place(0) != source.place(1)
    assert source.key(1) == "picture 1"
    assert pickle.loads(pickle.dumps(source)).digest == source.digest
    assert MemorySource([b"first", b"other"], labels=np.array([1, 0])).digest != source.digest


def test_without_labels() -> None:
    source = MemorySource([b"x"])
    assert source.classes == ()
    assert source.labels.tolist() == [-1]
