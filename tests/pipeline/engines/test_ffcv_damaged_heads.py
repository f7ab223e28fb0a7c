"""A damaged JPEG bears on no other: its decoder begins the next file at the beginning."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.contract import Result
from swiftsiam.pipeline.engines.rows import RowMaker, Rows
from swiftsiam.pipeline.sources import Source

from .conftest import damage_tables

pytestmark = pytest.mark.engine("ffcv", formats=("beton",))


def cut_behind_frame(jpeg: bytes) -> bytes:
    """Zeros behind the frame header, in which libjpeg finds an end and no picture."""
    tables = jpeg.index(b"\xff\xc4")
    return jpeg[:tables] + bytes(len(jpeg) - tables)


def break_frame(jpeg: bytes) -> bytes:
    """A frame header without a row."""
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 5] + b"\0\0" + jpeg[frame + 7 :]


def keep_tables(jpeg: bytes) -> bytes:
    """A file of tables alone, which libjpeg takes for a sound one."""
    return jpeg[: jpeg.index(b"\xff\xc0")] + b"\xff\xd9"


@pytest.mark.parametrize("damage", [cut_behind_frame, damage_tables, break_frame, keep_tables])
@pytest.mark.parametrize("first", [0, 1])
def test_the_pictures_behind_it_are_as_they_are(
    stream: Callable[..., list[Result]],
    listed: Callable[..., Source],
    draw_picture: Callable[..., np.ndarray],
    encode: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    first: int,
) -> None:
    """Not of the size of the one before it, and decoded by the compiled loop."""
    large, small = encode(draw_picture(0, 90, 120)), encode(draw_picture(1, 30, 40))
    left_to_python = []
    decode_or_next = RowMaker.decode_or_next

    def note(self: RowMaker, rows: Rows, row: int, **options: bytes) -> np.ndarray | None:
        left_to_python.append(row)
        return decode_or_next(self, rows, row, **options)

    monkeypatch.setattr(RowMaker, "decode_or_next", note)
    files = [large, damage(large), small, small, large]
    indices = list(range(first, 5))
    (expected,) = stream(listed(large, large, small, small, large), indices)
    assert not left_to_python
    (result,) = stream(listed(*files), indices)
    assert [bad.index for bad in result.bad] == [1]
    assert left_to_python == [indices.index(1)]
    for view, whole in zip(result.views, expected.views, strict=True):
        for row, index in enumerate(indices):
            assert index == 1 or torch.equal(view[row], whole[row]), index
