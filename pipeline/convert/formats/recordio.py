"""MXNet's RecordIO of pictures: .rec files, each with its .idx, and one index of all for DALI.

    u32 magic · u32 flag << 29 | length · payload · zeros to a multiple of 4

The payload is a header of 24 bytes (u32 0, f32 label, u64 index, u64 0) and the picture. Readers
find records by the magic: where a payload has it at a multiple of 4, the record is cut there, the
magic left out, and each piece gets a frame of its own (flags 1, 2, 3: first, middle, last).
MXNet's index has a line `index<tab>offset`; DALI takes one for all files, offsets counted through.
"""

import struct
from collections.abc import Iterable

import numpy as np

from ...sources.recordio_format import HEADER, MAGIC, MAX_LENGTH, PREFIX, find_magic
from ..contract import Layout, Sample
from ..planning import Shards


class Writer(Shards):
    """See `contract.ShardFormat`."""

    name = "recordio"
    suffix = "rec"
    largest = MAX_LENGTH - HEADER
    needs_content = True

    def count_pieces(self, data: bytes) -> int:
        return len(find_magic(data)) + 1

    def overhead(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before = np.full(len(samples), PREFIX, np.int64)
        # What is left out and put in between the pieces are multiples of 4.
        return before, -samples["length"] % 4

    def frame(self, sample: Sample, picture: bytes | memoryview) -> list[bytes | memoryview]:
        header = struct.pack("<IfQQ", 0, sample.label, sample.index, 0)
        padding = bytes(-sample.length % 4)
        if sample.pieces == 1:
            word = struct.pack("<I", HEADER + sample.length)
            return [MAGIC + word + header, picture, padding]
        view = memoryview(picture)
        cuts = find_magic(picture)
        begins = [0, *(place + 4 for place in cuts)]
        ends = [*cuts, sample.length]
        frames: list[bytes | memoryview] = []
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            head = header if number == 0 else b""
            flag = 1 if number == 0 else 3 if end == sample.length else 2
            frames.append(MAGIC + struct.pack("<I", flag << 29 | len(head) + end - begin) + head)
            frames.append(view[begin:end])
        return [*frames, padding]

    def indexes(self, samples: np.ndarray, layout: Layout) -> Iterable[tuple[str, bytes]]:
        starts = np.concatenate(([0], np.cumsum(layout.sizes)))
        for number, name in enumerate(layout.names):
            rows = layout.shard == number
            yield f"{name.removesuffix('.rec')}.idx", _index(samples[rows], layout.start[rows])
        yield "dali.idx", _index(samples, layout.start + starts[layout.shard])


def _index(samples: np.ndarray, offsets: np.ndarray) -> bytes:
    pairs = zip(samples["index"].tolist(), offsets.tolist(), strict=True)
    return "".join(f"{index}\t{offset}\n" for index, offset in pairs).encode()
