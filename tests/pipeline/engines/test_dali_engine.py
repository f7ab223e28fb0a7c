"""The DALI engine: the torchvision engine's batches, and the same outcome for every bad file."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.pipeline import engines
from swiftsiam.pipeline.augment.sampler import draw_views, pack_spec
from swiftsiam.pipeline.augment.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AugmentConfig,
    AugmentSpec,
    Normalize,
    RandomResizedCrop,
    build_eval_spec,
    build_train_specs,
)
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.contract import BadSample, EngineOptions, Request, Result
from swiftsiam.pipeline.delivery import Delivery
from swiftsiam.pipeline.engines import torchvision_engine
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.loader import Loader
from swiftsiam.pipeline.sources import Source, open_source

pytestmark = pytest.mark.engine("dali")

SIZE = 40
CONFIG = AugmentConfig(size=SIZE)
TRAIN = build_train_specs(CONFIG)
EVAL = (build_eval_spec(CONFIG),)


def options_for(source: Source, **changes: object) -> EngineOptions:
    options = EngineOptions(
        source=source,
        specs=TRAIN,
        seed=7,
        batch_size=9,
        dtype=torch.float32,
        device=torch.device("cpu"),
        num_workers=2,
        max_bad_samples=3,
    )
    return dataclasses.replace(options, **changes)


def requests(count: int, batch_size: int = 9, epoch: int = 2) -> Iterator[Request]:
    for start in range(0, count, batch_size):
        yield Request(epoch, np.arange(start, min(start + batch_size, count)))


def by_dali(options: EngineOptions, asked: Iterator[Request]) -> list[Result]:
    engine = engines.build("dali", options)
    try:
        return list(engine.stream(asked))
    finally:
        engine.close()


def by_dalis_crops(options: EngineOptions, asked: Iterator[Request]) -> list[Result]:
    """As on a GPU: DALI's crops, of which the delivery makes the views."""
    options = dataclasses.replace(options, delivers="crops")
    results = by_dali(options, asked)
    delivery = Delivery(options, labels=torch.zeros(len(options.source) + 1, dtype=torch.int64))
    batches = [delivered.batch for delivered in delivery.deliver(iter(results))]
    return [
        Result(batch.views, result.index, result.bad)
        for batch, result in zip(batches, results, strict=True)
    ]


def by_torchvision(options: EngineOptions, asked: Iterator[Request]) -> list[Result]:
    return list(torchvision_engine.build(dataclasses.replace(options, num_workers=0)).stream(asked))


def names(bad: list[BadSample]) -> list[tuple[int, str, str]]:
    # Some of Pillow's messages end with the address of an object.
    return [(sample.index, sample.key, sample.reason.split(" <")[0]) for sample in bad]


def assert_equal(ours: list[Result], theirs: list[Result]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.index, other.index)
        assert names(mine.bad) == names(other.bad)
        for view, expected in zip(mine.views, other.views, strict=True):
            assert view.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(view, expected)


def errors_per_image(ours: list[Result], theirs: list[Result]) -> torch.Tensor:
    """Mean absolute difference of each image before normalisation, of 255."""
    std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
    pairs = [
        (mine, other)
        for a, b in zip(ours, theirs, strict=True)
        for mine, other in zip(a.views, b.views, strict=True)
    ]
    return torch.cat([((a - b) * std * 255).abs().mean((1, 2, 3)) for a, b in pairs])


@pytest.mark.parametrize("specs", [TRAIN, EVAL], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_are_the_torchvision_engines(
    class_folder: Path, specs: tuple[AugmentSpec, ...], dtype: torch.dtype
) -> None:
    source = open_source(class_folder)
    options = options_for(source, specs=specs, dtype=dtype)
    asked = list(requests(len(source)))
    assert_equal(by_dali(options, iter(asked)), by_torchvision(options, iter(asked)))


@pytest.mark.parametrize("specs", [TRAIN, EVAL], ids=["train", "eval"])
def test_crops_made_by_dali(class_folder: Path, specs: tuple[AugmentSpec, ...]) -> None:
    source = open_source(class_folder)
    options = options_for(source, specs=specs)
    ours = by_dalis_crops(options, requests(len(source)))
    errors = errors_per_image(ours, by_torchvision(options, requests(len(source))))
    assert errors.mean() < 0.5
    assert errors.max() < 1.0


def test_crops_are_as_pillows(class_folder: Path) -> None:
    spec = AugmentSpec(ops=(RandomResizedCrop(size=SIZE), Normalize()))
    source = open_source(class_folder)
    options = options_for(source, specs=(spec,))
    (result,) = by_dalis_crops(options, requests(len(source), len(source)))
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    errors = []
    for index in range(len(source)):
        with Image.open(f"{class_folder}/{source.key(index)}") as image:
            (box,) = draw_views(
                pack_spec(spec),
                seed=7,
                epoch=2,
                indices=np.array([index]),
                view=0,
                heights=np.array([image.height]),
                widths=np.array([image.width]),
            )
            left, top = int(box["left"]), int(box["top"])
            corners = (left, top, left + int(box["width"]), top + int(box["height"]))
            window = image.crop(corners)  # `box` of resize would look beyond the window
            crop = np.asarray(window.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        pixels = ((result.views[0][index] * std + mean) * 255).permute(1, 2, 0).numpy()
        errors.append(np.abs(pixels - crop).mean())
    assert np.mean(errors) < 0.3


def test_small_png(
    tmp_path: Path, draw_picture: Callable[..., np.ndarray], encode: Callable[..., bytes]
) -> None:
    """CIFAR's: 32-px PNG, 32-px views."""
    (tmp_path / "a").mkdir()
    for number in range(7):
        picture = draw_picture(number, 32, 32)
        (tmp_path / f"a/{number}.png").write_bytes(encode(picture, "PNG"))
    config = AugmentConfig(size=32, preset="cifar")
    for specs in (build_train_specs(config), (build_eval_spec(config),)):
        options = options_for(open_source(tmp_path), specs=specs)
        assert_equal(by_dali(options, requests(7)), by_torchvision(options, requests(7)))


def test_oracle(class_folder: Path) -> None:
    options = options_for(open_source(class_folder), ops="oracle")
    assert_equal(by_dali(options, requests(4)), by_torchvision(options, requests(4)))


@pytest.fixture
def odd_folder(tmp_path: Path, odd_files: dict[str, bytes], fill_folder: Callable) -> Path:
    """The odd files, each between two good ones."""
    fill_folder(tmp_path, {"a": 1})
    good = (tmp_path / "a/000.jpg").read_bytes()
    for name, data in odd_files.items():
        (tmp_path / "a" / name).write_bytes(data)
        (tmp_path / f"a/{name}_.jpg").write_bytes(good)
    return tmp_path


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


def test_every_kind_of_file_with_crops_made_by_dali(odd_folder: Path) -> None:
    source = open_source(odd_folder)
    options = options_for(source, max_bad_samples=None)
    ours = by_dalis_crops(options, requests(len(source)))
    theirs = by_torchvision(options, requests(len(source)))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.index, other.index)
        assert names(mine.bad) == names(other.bad)
    is_sample = np.concatenate([result.index >= 0 for result in ours for _ in TRAIN])
    errors = errors_per_image(ours, theirs)[torch.from_numpy(is_sample)]
    assert errors.mean() < 0.5
    assert errors.max() < 1.0


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


def test_batches_are_the_callers_own(class_folder: Path) -> None:
    """And the last one of an evaluation is partial."""
    with build_loader(
        source=open_source(class_folder),
        engine="dali",
        specs=EVAL,
        global_batch_size=5,
        train=False,
        num_workers=1,
    ) as loader:
        assert len(loader) == 5
        kept = list(loader)
    assert [len(batch.index) for batch in kept] == [5, 5, 5, 5, 3]
    options = options_for(open_source(class_folder), specs=EVAL, seed=0)
    expected = by_torchvision(options, requests(23, 5, epoch=0))
    for batch, result in zip(kept, expected, strict=True):
        assert torch.equal(batch.views[0], result.views[0])


def test_without_dali_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"loader.engine=dali.*pip install nvidia-dali-cuda130"):
        engines.build("dali", options_for(None, specs=EVAL, seed=0))
