"""Pictures that lie on the device: the other engines' batches, decoded once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import Batch, EngineOptions, Request, Result
from swiftsiam.pipeline.engines import resident_engine
from swiftsiam.pipeline.engines.resident_engine import ResidentEngine
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source

SIZE = 24
SPECS = build_train_specs(AugmentConfig(size=SIZE))
GRAY_LEVEL = 1 / 255 / 0.224


def load(source: Source, engine: str, **changes: object) -> tuple[list[Batch], Loader]:
    settings = {"specs": SPECS, "global_batch_size": 4, "train": True, "seed": 5}
    settings |= {"delivers": "crops", "num_workers": 0}
    with build_loader(source=source, engine=engine, **(settings | changes)) as loader:
        return [batch for _ in range(2) for batch in loader], loader


def assert_same(made: list[Batch], expected: list[Batch]) -> None:
    """But for rounding to 8 bits: one level, here and there."""
    assert len(made) == len(expected) > 2
    for ours, theirs in zip(made, expected, strict=True):
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(ours.label, theirs.label)
        for view, other in zip(ours.views, theirs.views, strict=True):
            assert view.stride() == other.stride()
            assert (view - other).abs().mean() < 0.02 * GRAY_LEVEL


def test_batches_are_the_other_engines(source: Source) -> None:
    for changes in (
        {},
        {"specs": build_train_specs(AugmentConfig(size=SIZE, preset="cifar"))},
        {"specs": (*SPECS, *build_train_specs(AugmentConfig(size=16)))},
        {"specs": (build_eval_spec(AugmentConfig(size=SIZE)),), "train": False},
    ):
        made, _ = load(source, "resident", **changes)
        assert_same(made, load(source, "torchvision", **changes)[0])


def test_bad_samples_are_replaced_or_end_the_run(
    source: Source, listed: Callable[..., Source], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [source.read(index) for index in range(len(source))]
    files[7], files[8], files[22] = b"junk", BadSampleError("gone"), b""
    broken = listed(*files)
    made, loader = load(broken, "resident", max_bad_samples=3)
    expected, other = load(broken, "torchvision", max_bad_samples=3)
    assert_same(made, expected)
    assert loader.bad_samples == other.bad_samples
    assert set(loader.bad_samples) == {7, 8, 22}
    with pytest.raises(UserError, match=r"file \d+: .*; mend or remove it"):
        load(broken, "resident", max_bad_samples=2)
    assert "bad sample file 7" in capsys.readouterr().err


@pytest.fixture
def make_engine(make_options: Callable[..., EngineOptions]) -> Callable[..., ResidentEngine]:
    """(**changes of the options) → the engine."""

    def make_engine(**changes: object) -> ResidentEngine:
        settings = {"specs": SPECS, "delivers": "crops", "max_bad_samples": 1}
        return resident_engine.build(make_options(**(settings | changes)))

    return make_engine


def test_empty_rows(
    source: Source, listed: Callable[..., Source], make_engine: Callable[..., ResidentEngine]
) -> None:
    """Of an evaluation: what cannot be read, and what fills up the last batch."""
    files = [source.read(0), b"junk", source.read(2)]
    engine = make_engine(source=listed(*files), max_bad_samples=None)
    (result,) = engine.stream(iter([Request(0, np.array([2, 1, -1, 0]))]))
    assert result.index.tolist() == [2, -1, -1, 0]
    assert [bad.index for bad in result.bad] == [1]
    crops = result.pixels[0].view(2, 4, SIZE, SIZE, 3)
    assert (crops[:, 1:3] == 0).all()
    assert (crops[:, 0] != crops[:, 3]).any()


def test_pictures_are_decoded_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the loader begins anew."""
    decoded = []

    def decode(data: bytes) -> np.ndarray:
        decoded.append(len(data))
        return np.full((8, 9, 3), 7, np.uint8)

    monkeypatch.setattr(resident_engine, "decode_rgb", decode)
    settings = {"specs": SPECS, "global_batch_size": 4, "train": True, "delivers": "crops"}
    with build_loader(source=source, engine="resident", **settings) as loader:
        for epoch in (0, 3, 1):
            loader.set_epoch(epoch)
            next(iter(loader))
    next(iter(loader))  # closed, and used again
    loader.close()
    assert len(decoded) == len(source)


def test_more_pictures_than_go_to_the_device_at_a_time(
    source: Source, monkeypatch: pytest.MonkeyPatch, make_engine: Callable[..., ResidentEngine]
) -> None:
    def make() -> list[Result]:
        return list(make_engine().stream(iter([Request(0, np.arange(len(source)))])))

    (at_once,) = make()
    monkeypatch.setattr(resident_engine, "_CHUNK_BYTES", 20_000)
    (in_chunks,) = make()
    assert torch.equal(at_once.pixels[0], in_chunks.pixels[0])


def test_a_step_can_train_on_what_an_evaluation_has_loaded(
    make_engine: Callable[..., ResidentEngine],
) -> None:
    with torch.inference_mode():
        engine = make_engine()
    (result,) = engine.stream(iter([Request(0, np.arange(4))]))
    assert not result.pixels[0].is_inference()
    assert not engine._pictures.pixels.is_inference()
