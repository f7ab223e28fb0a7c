"""Pictures that cannot be read: named, counted, replaced within the budget; and nothing hangs."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline.contract import Batch
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source, open_source

from .conftest import WITHOUT_AND_WITH_WORKERS

MakeLoader = Callable[..., Loader]
RowsOf = Callable[[list[Batch]], dict[int, tuple[torch.Tensor, ...]]]


@pytest.fixture
def damaged(tmp_path: Path, fill_folder: Callable[..., Path]) -> Source:
    """12 pictures in two classes, of which 3 (truncated), 4 (junk) and 11 (empty) are bad."""
    root = fill_folder(tmp_path, {"a": 6, "b": 6})
    truncated = root / "a" / "003.jpg"
    truncated.write_bytes(truncated.read_bytes()[:400])
    (root / "a" / "004.jpg").write_bytes(b"junk")
    (root / "b" / "005.jpg").write_bytes(b"")
    return open_source(root)


BAD = {3: "a/003.jpg", 4: "a/004.jpg", 11: "b/005.jpg"}
NEXT = {3: 5, 4: 5, 11: 0}
"""What takes a bad sample's place: the next good one in the listing, the first after the last."""


@pytest.mark.parametrize("num_workers", WITHOUT_AND_WITH_WORKERS)
def test_replaced_and_counted_within_the_budget(
    make_loader: MakeLoader,
    damaged: Source,
    num_workers: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    loader = make_loader(source=damaged, max_bad_samples=3, num_workers=num_workers)
    for epoch in range(2):
        batches = list(loader)
        drawn = torch.cat([batch.index for batch in batches]).tolist()
        order = make_loader(source=damaged)._plan.epoch_order(epoch).tolist()
        assert drawn == [NEXT.get(index, index) for index in order]
        labels = torch.cat([batch.label for batch in batches]).tolist()
        assert labels == damaged.labels[drawn].tolist()
        for batch in batches:
            rows = {int(index): batch.views[0][row] for row, index in enumerate(batch.index)}
            for row, index in enumerate(batch.index):  # the same index, the same view
                assert torch.equal(rows[int(index)], batch.views[0][row])
            assert all(view.flatten(1).any(dim=1).all() for view in batch.views)
    assert {index: bad.key for index, bad in loader.bad_samples.items()} == BAD
    assert [bad.index for bad in loader.bad_samples.values()] == list(loader.bad_samples)
    assert loader.bad_samples[11].reason == "the file is empty"
    printed = capfd.readouterr().err
    for name in BAD.values():
        assert printed.count(f"bad sample {name}: ") == 1


@pytest.mark.parametrize("num_workers", WITHOUT_AND_WITH_WORKERS)
def test_the_first_one_over_the_budget_ends_the_run(
    make_loader: MakeLoader, damaged: Source, num_workers: int
) -> None:
    loader = make_loader(source=damaged, num_workers=num_workers)
    with pytest.raises(UserError) as caught:
        for _ in loader:
            pass
    (bad,) = loader.bad_samples.values()
    assert str(caught.value).startswith(f"{BAD[bad.index]}: {bad.reason}; ")
    assert "data.max_bad_samples=1" in str(caught.value)


def test_a_budget_of_two_does_for_two_but_not_for_three(
    make_loader: MakeLoader, damaged: Source
) -> None:
    without_last = np.arange(11)
    loader = make_loader(source=damaged, max_bad_samples=2, indices=without_last)
    assert [len(list(loader)) for _ in range(5)] == [2] * 5
    assert sorted(loader.bad_samples) == [3, 4]
    with pytest.raises(UserError, match=r"data\.max_bad_samples=3 samples fail \(now 2\)"):
        list(make_loader(source=damaged, max_bad_samples=2))


@pytest.mark.parametrize("num_workers", WITHOUT_AND_WITH_WORKERS)
def test_evaluation_leaves_the_row_empty(
    make_loader: MakeLoader, damaged: Source, num_workers: int, rows_of: RowsOf
) -> None:
    loader = make_loader(source=damaged, train=False, num_workers=num_workers)
    batches = list(loader)
    index = torch.cat([batch.index for batch in batches])
    assert index.tolist() == [-1 if k in BAD else k for k in range(12)]
    label = torch.cat([batch.label for batch in batches])
    assert (label[index < 0] == -1).all()
    empty = torch.cat([batch.views[0] for batch in batches])[index < 0]
    assert empty.shape[0] == 3
    assert not empty.any()
    assert sorted(loader.bad_samples) == sorted(BAD)
    assert len(rows_of(batches)) == 9


@pytest.mark.parametrize(
    ("budget", "num_workers"),
    [(0, 0), (3, 0), (100, 0), pytest.param(100, 1, marks=pytest.mark.slow)],
)
def test_nothing_but_bad_files_is_an_error(
    make_loader: MakeLoader, tmp_path: Path, budget: int, num_workers: int
) -> None:
    for number in range(8):
        (tmp_path / f"{number}.jpg").write_bytes(b"junk")
    loader = make_loader(
        source=open_source(tmp_path), max_bad_samples=budget, num_workers=num_workers
    )
    with pytest.raises(UserError, match=r"\d\.jpg: cannot be decoded.*data\."):
        list(loader)


def test_a_file_that_vanished_is_a_bad_sample(make_loader: MakeLoader, damaged: Source) -> None:
    (Path(damaged.root) / "a" / "000.jpg").unlink()
    loader = make_loader(source=damaged, train=False)
    list(loader)
    assert "No such file" in loader.bad_samples[0].reason


@pytest.fixture
def odd(tmp_path: Path, draw_picture: Callable[..., np.ndarray]) -> Source:
    """Pictures of every kind that can be read, most of them under a wrong name."""
    pixels = draw_picture(1, 40, 50)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.resize(pixels, (10, 20_000, 3)))
    kinds: dict[str, tuple[Image.Image, str, dict]] = {
        "png": (image, "PNG", {}),
        "alpha": (image.convert("RGBA"), "PNG", {}),
        "palette": (image.quantize(64), "PNG", {}),
        "16 bits": (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG", {}),
        "gray": (image.convert("L"), "JPEG", {}),
        "cmyk": (image.convert("CMYK"), "JPEG", {}),
        "progressive": (image, "JPEG", {"progressive": True}),
        "turned": (image, "JPEG", {"exif": exif}),
        "webp": (image, "WEBP", {}),
        "one pixel": (image.crop((0, 0, 1, 1)), "JPEG", {}),
        "wide": (wide, "JPEG", {}),
        "tall": (wide.transpose(Image.Transpose.ROTATE_90), "PNG", {}),
    }
    for name, (picture, format, options) in kinds.items():
        buffer = io.BytesIO()
        picture.save(buffer, format, **options)
        (tmp_path / f"{name}.jpg").write_bytes(buffer.getvalue())
    return open_source(tmp_path)


@pytest.mark.parametrize("train", [True, False])
def test_every_kind_of_picture_is_delivered(
    make_loader: MakeLoader, odd: Source, rows_of: RowsOf, *, train: bool
) -> None:
    loader = make_loader(source=odd, train=train)
    rows = rows_of(list(loader))
    assert len(rows) == 12
    assert not loader.bad_samples
    oracle = rows_of(list(make_loader(source=odd, train=train, ops="oracle")))
    for index, views in rows.items():
        for view, wanted in zip(views, oracle[index], strict=True):
            assert view.isfinite().all()
            assert (view - wanted).abs().mean() * 0.225 * 255 < 0.5, odd.key(index)
