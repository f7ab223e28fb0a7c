"""`bench loop`: its floor makes what the loader makes, and its records hold what a figure needs."""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.loop import costs
from swiftsiam.benchmarks.loop_loader import Asked, Setting, open_setting
from swiftsiam.benchmarks.loop_rows import settle
from swiftsiam.pipeline import engines
from swiftsiam.pipeline.convert.contract import Options
from swiftsiam.pipeline.convert.driver import convert
from swiftsiam.pipeline.engines.ffcv import engine
from swiftsiam.pipeline.engines.ffcv.loop import DONE
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.progress import show_nothing
from swiftsiam.pipeline.sources import open_source

pytestmark = [pytest.mark.slow, pytest.mark.engine("ffcv")]

COMMAND = [sys.executable, "-m", "swiftsiam", "bench", "loop"]
SMALL = ["--size=16", "--batch-size=4", "--workers=2", "--rounds=2", "--images=8"]
FIGURES = {
    "decode": {"core_ms_per_image", "images_per_s"},
    "floor": {"core_ms_per_image", "images_per_s"},
    "loader": {"core_ms_per_image", "images_per_s", "loop_percent_of_decoding"},
    "scaling": {"loader_scaling", "busy_scaling", "loader_over_busy", "loader_over_floor"},
    "boundary": {"boundary_wait_steps", "elsewhere_wait_steps"},
    "step": {"step_ms", "cached_step_ms", "step_with_loader_over_cached"},
}


def open_folder(path: Path) -> Setting:
    arguments = argparse.Namespace(batch_size=4, size=16, workers=2, rounds=1, images=8)
    return open_setting(path, arguments)


@pytest.fixture(scope="module")
def odd_folder(
    tmp_path_factory: pytest.TempPathFactory,
    fill_folder: Callable[..., Path],
    draw_picture: Callable[[int, int, int], np.ndarray],
    encode: Callable[..., bytes],
) -> Path:
    """12 JPEGs, among them one too large for the first workspace, one too wide, one in CMYK."""
    folder = fill_folder(tmp_path_factory.mktemp("odd"), {"ant": 9})
    (folder / "bee").mkdir()
    for name, (height, width) in {"large": (1100, 1000), "wide": (40, 1500)}.items():
        pixels = draw_picture(1, height, width)
        (folder / "bee" / f"{name}.jpg").write_bytes(encode(pixels))
    cmyk = np.tile(draw_picture(2, 40, 50), 2)[..., :4]
    (folder / "bee" / "cmyk.jpg").write_bytes(encode(Image.fromarray(cmyk, "CMYK")))
    return folder


def test_the_floor_makes_the_pictures_of_the_loader(odd_folder: Path) -> None:
    setting = open_folder(odd_folder)
    with setting.build() as loader, setting.build() as beside:
        asked = Asked(loader)
        field = asked.build_field()
        floor = field.build_floor(setting.num_workers)
        requests = list(itertools.islice(beside._requests(0, 0), len(beside)))
        assert len(requests) == 3
        for request, batch in zip(requests, beside, strict=True):
            prepared = field.prepare([request])
            for _ in range(2):  # whatever the first time has left
                floor.run(prepared)
                (rows,) = prepared.batches
                for made, view in zip(rows.result().pixels, batch.views, strict=True):
                    assert torch.equal(made.view(torch.int16), view.view(torch.int16))
                np.testing.assert_array_equal(rows.index, batch.index)
        floor.close()


def test_a_round_draws_what_the_loader_makes_in_it(
    odd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    open_batch = engine.LoopRows

    class Opened(open_batch):
        def __init__(self, request, options, *, allocate) -> None:
            made.extend((request.epoch, index) for index in request.indices.tolist())
            super().__init__(request, options, allocate=allocate)

    monkeypatch.setattr(engine, "LoopRows", Opened)
    setting = open_folder(odd_folder)
    with setting.build() as loader:
        asked = Asked(loader)
        for images in (8, 4, 12):
            drawn = [
                (request.epoch, index)
                for request in asked.draw(images)
                for index in request.indices.tolist()
            ]
            settle()
            made.clear()
            cost = asked.run(images)
            assert made == drawn
            assert cost.images_per_s > 0


def test_decoding_alone_decodes_every_picture(
    odd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = open_folder(odd_folder)
    with setting.build() as loader:
        asked = Asked(loader)
        field = asked.build_field()
        decode = field.build_decode(1)
        prepared = field.prepare(asked.draw(12))
        by_pillow: list[int] = []
        (maker,) = decode._makers
        monkeypatch.setattr(
            maker._maker, "decode_or_next", lambda rows, row: by_pillow.append(rows.index[row])
        )
        decode.run(prepared)
        decode.close()
    records = np.concatenate([rows.records for rows in prepared.batches])
    assert not prepared.are_raw
    assert (records["height"] > 0).all()
    cmyk = [key.endswith("cmyk.jpg") for key in map(setting.source.key, records["index"].tolist())]
    assert sum(cmyk) == len(by_pillow) > 0
    assert (records["status"] == DONE).sum() == len(records) - len(by_pillow)


def test_a_record_holds_what_a_figure_needs(class_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "loop.json"
    done = subprocess.run(
        [*COMMAND, *SMALL, f"--data={class_folder}", f"--json={out}"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    records = json.loads(out.read_text())
    assert [record["name"] for record in records] == list(FIGURES)
    for record in records:
        is_rate = record["name"] not in ("boundary", "step")
        assert record["scope"] == ("loader" if is_rate else "loop")
        assert record["engine"] == "ffcv"
        assert (record["batch_size"], record["num_workers"], record["size"]) == (4, 2, 16)
        assert record["work"]
        assert record["machine"]["cores"] >= 1
        assert record["data"] == class_folder.name
        for figure in FIGURES[record["name"]]:
            assert record[figure]["n"] == 2
    costs = {record["name"]: record for record in records[:3]}
    assert costs["decode"]["core_ms_per_image"]["median"] > 0
    assert "the loop of the ffcv engine" in done.stdout


@pytest.fixture(scope="module")
def raw_beton(class_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `class_folder`, decoded."""
    beton = tmp_path_factory.mktemp("raw") / "raw.beton"
    convert(
        open_source(str(class_folder)),
        beton,
        options=Options(to="beton", mode="raw"),
        num_workers=0,
        resume=False,
        progress=show_nothing,
        tell=print,
    )
    return beton


@pytest.mark.engine("ffcv", formats=("beton",))
def test_raw_pictures_are_not_decoded(raw_beton: Path) -> None:
    records = list(costs(open_folder(raw_beton)))
    assert [record["name"] for record in records] == ["floor", "loader"]
    assert "loop_percent_of_decoding" not in records[1]
    assert records[1]["loop_percent_of_floor"]["n"] == 1


def test_a_beton_without_ffcv_is_refused_at_once(
    raw_beton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs FFCV, which is not installed"):
        main(["loop", f"--beton={raw_beton}", "--batch-size=4", f"--json={tmp_path / 'x.json'}"])


def test_mistakes_are_told(
    class_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"--json={tmp_path / 'x.json'}"
    with pytest.raises(UserError, match="nowhere"):
        main(["loop", f"--data={tmp_path / 'nowhere'}", out])
    with pytest.raises(UserError, match="--parts=speed: not one of costs, scaling, boundary, step"):
        main(["loop", "--parts=speed", f"--data={class_folder}", out])
    with pytest.raises(UserError, match="--batch-size=64: larger than the set of 23 pictures"):
        main(["loop", f"--data={class_folder}", out])
    with pytest.raises(UserError, match="must be 1 to 1,024"):
        main(["loop", "--workers=0", f"--data={class_folder}", out])
