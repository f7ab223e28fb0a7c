"""FFCV's beton, version 2, written without FFCV: JPEG files as they are, or raw pixels.

    header | field descriptors | metadata | zeros to a page | pages | allocation table

Fields: `image`, `label` (class number), `index` (position in the source's listing). A sample that
would cross a page's end opens the next page: FFCV's own cache reads others wrongly, without a word.
FFCV's DatasetWriter cannot do this: it encodes every picture anew.
"""

from collections.abc import Iterable

import numpy as np

from ...sources.beton_format import (
    ALLOCATION,
    FIELD,
    HEADER,
    INT_FIELD,
    METADATA,
    RGB_IMAGE_FIELD,
    VERSION,
)
from ..contract import Layout, Part, Sample
from ..planning import PART_SIZE, cut

_FIELDS = {"image": RGB_IMAGE_FIELD, "label": INT_FIELD, "index": INT_FIELD}
_RECORD = np.dtype([(name, METADATA[kind]) for name, kind in _FIELDS.items()], align=True)
_MIN_PAGE, _MAX_PAGE = 1 << 23, 1 << 30


class Writer:
    """See `contract.ShardFormat`."""

    name = "beton"
    takes_png = False
    largest = _MAX_PAGE
    needs_content = False

    def __init__(self, *, page_size: int | None = None) -> None:
        """
        Args:
            page_size: a power of two, in bytes; None: 8 MiB, or what the largest picture takes.
        """
        self.page_size = page_size
        self.largest = page_size or _MAX_PAGE

    def count_pieces(self, data: bytes) -> int:
        return 1

    def overhead(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nothing = np.zeros(len(samples), np.int64)
        return nothing, nothing

    def plan(self, samples: np.ndarray, *, name: str, shard_size: int) -> Layout:
        page = self._choose_page_size(samples)
        ends = np.cumsum(samples["length"])
        starts = ends - samples["length"]
        data_start = -(-_head_size(len(samples)) // page) * page
        offset = np.empty(len(samples), np.int64)
        cuts = cut(ends, page)
        first = 0
        for number, last in enumerate(cuts):
            offset[first:last] = starts[first:last] - starts[first] + data_start + number * page
            first = last
        table = data_start + len(cuts) * page
        parts = [Part(0, 0, data_start, 0, 0, "head")]
        pages = max(PART_SIZE // page, 1)
        first = 0
        for number in range(0, len(cuts), pages):
            last = cuts[min(number + pages, len(cuts)) - 1]
            begin = data_start + number * page
            parts.append(Part(0, begin, min(begin + pages * page, table), first, last))
            first = last
        size = table + len(samples) * ALLOCATION.itemsize
        parts.append(Part(0, table, size, 0, 0, "table"))
        shard = np.zeros(len(samples), np.int64)
        return Layout((f"{name}.beton",), (size,), shard, offset, offset, tuple(parts))

    def frame(self, sample: Sample, picture: bytes | memoryview) -> list[bytes | memoryview]:
        return [picture]

    def fixed(self, what: str, samples: np.ndarray, layout: Layout) -> bytes:
        pointers = layout.offset.astype(np.uint64)
        if what == "table":
            table = np.zeros(len(samples), ALLOCATION)
            table["sample_id"] = np.arange(len(samples))
            table["ptr"], table["size"] = pointers, samples["length"]
            return table.tobytes()
        if what != "head":
            raise KeyError(what)
        header = np.zeros(1, HEADER)
        page, table = self._choose_page_size(samples), layout.parts[-1].begin
        header[0] = VERSION, len(_FIELDS), page, len(samples), table
        fields = np.zeros(len(_FIELDS), FIELD)
        fields["type_id"] = list(_FIELDS.values())
        fields["name"] = [name.encode("ascii") for name in _FIELDS]
        records = np.zeros(len(samples), _RECORD)
        image = records["image"]
        image["mode"], image["data_ptr"] = samples["kind"], pointers
        image["width"], image["height"] = samples["width"], samples["height"]
        records["label"], records["index"] = samples["label"], samples["index"]
        return header.tobytes() + fields.tobytes() + records.tobytes()

    def indexes(self, samples: np.ndarray, layout: Layout) -> Iterable[tuple[str, bytes]]:
        return ()

    def _choose_page_size(self, samples: np.ndarray) -> int:
        if self.page_size:
            return self.page_size
        return max(_MIN_PAGE, 1 << (int(samples["length"].max()) - 1).bit_length())


def _head_size(count: int) -> int:
    return HEADER.itemsize + len(_FIELDS) * FIELD.itemsize + count * _RECORD.itemsize
