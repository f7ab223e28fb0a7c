"""The DALI engine has the same outcome for every bad file, and outlives DALI's failures."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source, open_source

from .dali_runs import TRAIN, assert_equal, by_dali, by_torchvision, options_for, requests

pytestmark = pytest.mark.engine("dali")


def test_dali_is_given_sound_headers_alone(odd_files: dict[str, bytes]) -> None:
    """Others would end the process, not the pipeline (see `plain`)."""
    from swiftsiam.pipeline.engines.dali.plain import as_plain

    given = {name.split(".")[0] for name, data in odd_files.items() if as_plain(data)}
    plain = {"exif", "gray", "jpeg", "long", "one", "progressive", "really_png", "tail"}
    assert given == plain | {"tables", "zeros"}  # damaged behind the headers
    turned = odd_files["exif.jpg"]
    stripped = as_plain(turned)
    assert stripped is not None
    assert b"Exif" in turned
    assert b"Exif" not in stripped.data
    headers_end = turned.index(b"\xff\xda")
    for end in range(headers_end):  # cut anywhere in the headers
        assert as_plain(turned[:end] + b"\xff\xd9") is None


@pytest.mark.parametrize("max_bad_samples", [None, 2], ids=["left_out", "replaced"])
@pytest.mark.parametrize("batch_size", [1, 5, 50])
def test_every_kind_of_file(odd_folder: Path, max_bad_samples: int | None, batch_size: int) -> None:
    source = open_source(odd_folder)
    options = options_for(source, max_bad_samples=max_bad_samples, batch_size=batch_size)
    asked = list(requests(len(source), batch_size))
    ours = by_dali(options, iter(asked))
    assert_equal(ours, by_torchvision(options, iter(asked)))
    bad = {Path(sample.key).stem for result in ours for sample in result.bad}
    assert bad == {"bomb", "cut", "empty", "header_alone", "junk", "no_pixels", "tables"}


def test_damage_in_mid_epoch_moves_no_other_sample(
    tmp_path: Path, fill_folder: Callable, odd_files: dict[str, bytes]
) -> None:
    """A file that DALI fails on, over two epochs of the loader."""
    fill_folder(tmp_path, {"ant": 12, "bee": 12})

    def load() -> tuple[list, Loader]:
        with build_loader(
            source=open_source(tmp_path),
            specs=TRAIN,
            global_batch_size=4,
            train=True,
            engine="dali",
            num_workers=2,
            max_bad_samples=1,
        ) as loader:
            return [batch for _ in range(2) for batch in loader], loader

    before, _ = load()
    (tmp_path / "bee/003.jpg").write_bytes(odd_files["tables.jpg"])
    after, loader = load()
    assert list(loader.bad_samples) == [15]
    assert len(before) == len(after) == 12
    num_replaced = 0
    for old, new in zip(before, after, strict=True):
        same = old.index != 15
        num_replaced += int((~same).sum())
        assert torch.equal(new.index[same], old.index[same])
        assert (new.index[~same] == 16).all()
        assert torch.equal(new.label, old.label)
        for old_view, new_view in zip(old.views, new.views, strict=True):
            assert torch.equal(old_view[same], new_view[same])
    assert num_replaced == 2


def test_dali_failing_on_good_pictures_is_an_error(
    listed: Callable[..., Source], odd_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than a run that quietly decodes without it."""
    from swiftsiam.pipeline.engines import rows

    undecodable = odd_files["tables.jpg"]
    monkeypatch.setattr(rows, "decode_rgb", lambda data: np.zeros((8, 8, 3), np.uint8))

    with pytest.raises(RuntimeError, match="DALI fails"):
        by_dali(options_for(listed(*[undecodable] * 99)), requests(99))


def test_a_file_now_and_then_that_dali_alone_refuses_ends_no_run(
    listed: Callable[..., Source],
    source: Source,
    odd_files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every second piece, of 9 pictures; and each piece costs one pipeline, not one an epoch."""
    from swiftsiam.pipeline.engines import rows
    from swiftsiam.pipeline.engines.dali.pipeline import DaliPipeline

    built = []
    build = DaliPipeline._build
    monkeypatch.setattr(DaliPipeline, "_build", lambda self: built.append(1) or build(self))
    good, refused = source.read(0), odd_files["tables.jpg"]
    monkeypatch.setattr(rows, "decode_rgb", lambda data: np.zeros((8, 8, 3), np.uint8))
    epochs = itertools.chain(requests(90), requests(90, epoch=3))
    results = by_dali(options_for(listed(*[refused, *[good] * 17] * 5)), epochs)
    assert np.concatenate([result.index for result in results]).tolist() == [*range(90)] * 2
    assert len(built) == 1 + 5


def test_an_error_in_a_thread_reaches_the_trainer(
    listed: Callable[..., Source], class_folder: Path
) -> None:
    source = open_source(class_folder)

    files = [source.read(index) for index in range(len(source))]
    files[12] = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        by_dali(options_for(listed(*files)), requests(len(source)))
