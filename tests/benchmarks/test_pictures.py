"""`bench pictures`: what is drawn of made-up results, and what is left out with its reason."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from swiftsiam.benchmarks.canvas import GAIN, LOSS, OTHERS, OURS, open_figure
from swiftsiam.benchmarks.command import main
from swiftsiam.benchmarks.pictures import PICTURES, draw_all
from swiftsiam.benchmarks.pictures_loader import draw_contestants, draw_scaling, draw_stages
from swiftsiam.benchmarks.pictures_step import draw_roofline, draw_waterfall
from swiftsiam.benchmarks.results import Record
from swiftsiam.benchmarks.words import tell_contestant
from swiftsiam.pipeline.engines import ENGINES
from swiftsiam.pipeline.errors import UserError

MACHINE = {"cpu": "A CPU", "cores": 16, "gpu": None, "versions": {}, "commit": None}
LEAST_POINTS = 10.0  # of letters, at 100 px an inch


def figure(median: float, iqr: float | None = None) -> dict[str, Any]:
    """Of five rounds."""
    return {"median": median, "iqr": median / 10 if iqr is None else iqr, "n": 5}


def loader(engine: str, core_ms: float, **facts: Any) -> Record:
    """Of a contestant."""
    return {
        "machine": MACHINE,
        "scope": "loader",
        "engine": engine,
        "format": "as-is",
        "work": "views",
        "images_per_s": figure(16_000 / core_ms),
        "core_ms_per_image": figure(core_ms),
        "batch_size": 64,
        "num_workers": 16,
        "size": 224,
    } | facts


def lane(name: str, precision: str, rate: float, **facts: Any) -> Record:
    """Of the step."""
    return {
        "machine": MACHINE,
        "scope": "step",
        "engine": "none",
        "lane": name,
        "name": "resnet50",
        "precision": precision,
        "work": "a step",
        "images_per_s": figure(rate),
        "core_ms_per_image": figure(2.0),
        "batch_size": 512,
        "num_workers": 0,
    } | facts


NAMES = ("read", "decode", "crop", "colour", "copy", "rest")
STAGES = dict(zip(NAMES, (0.02, 1.3, 0.13, 0.23, 0.004, 0.03), strict=True))
LIMIT = loader("decode-only", 1.4)
PEERS = ("torchvision-v2", "torchcodec", "lightly", "spdl", "webdataset", "ffcv-stock")
CONTESTANTS = [
    loader("reference", 12.6),
    loader("ffcv", 1.7, stages_ms_per_image=STAGES),
    loader("torchvision", 3.1, stages_ms_per_image=STAGES | {"decode": 2.2, "copy": 0.3}),
    LIMIT,
    loader("dali-operators", 12.5),
    *(loader(name, 10.0 + place) for place, name in enumerate(PEERS)),
]
FAILED = {"machine": MACHINE, "scope": "loader", "engine": "dali", "work": "-", "failure": "died"}
SCALING = [
    loader("ffcv", 1.7, name="scaling", num_workers=count, images_per_s=figure(rate))
    for count, rate in ((1, 500.0), (2, 950.0), (4, 1800.0), (8, 3400.0), (16, 6000.0))
]
MANY = [
    loader("ffcv", 1.7, name="scaling", num_workers=count, images_per_s=figure(500.0 * count))
    for count in (1, 2, 4, 8, 16, 32, 64, 96)
]
LANES = [
    lane("plain fp32", "fp32", 1050.0),
    lane("plain bf16 NHWC", "bf16", 2000.0),
    lane("none", "fp32", 1000.0),
    lane("+ tf32", "fp32", 1500.0, gain=figure(1.5)),
    lane("+ precision", "bf16", 2100.0, gain=figure(1.4)),
    lane("+ fused", "bf16", 2050.0, gain=figure(0.98)),
]
ROOF = {
    "machine": MACHINE,
    "scope": "machine",
    "engine": "none",
    "lane": "roofline",
    "work": "-",
    "bandwidth_gb_s": figure(4000.0),
    "matmul_tflop_s": {"fp32": figure(50.0), "tf32": figure(400.0), "bf16": figure(800.0)},
}
MOVED = [
    record | {"gflop_per_image": 50.0, "mb_per_image": 1000.0 - 50 * place, "tflop_per_s": rate}
    for place, record in enumerate(LANES)
    for rate in [figure(record["images_per_s"]["median"] * 0.05)]
]


def must(drawn: Figure | None) -> tuple[Figure, Axes]:
    """What was drawn, laid out."""
    assert drawn is not None
    drawn.draw_without_rendering()
    return drawn, drawn.axes[0]


def texts(panel: Axes) -> list[str]:
    """Words beside and in bars."""
    return [text.get_text() for text in panel.texts if text.get_text()]


def widths(panel: Axes) -> list[float]:
    """Of the bars."""
    return [patch.get_width() for patch in panel.patches]  # type: ignore[attr-defined]


def starts(panel: Axes) -> list[float]:
    """Of the bars."""
    return [patch.get_x() for patch in panel.patches]  # type: ignore[attr-defined]


def colours(panel: Axes) -> list[str]:
    """Of the bars."""
    from matplotlib.colors import to_hex

    return [to_hex(patch.get_facecolor()).upper() for patch in panel.patches]


def test_contestants_are_bars_and_the_limit_is_a_line() -> None:
    drawn, panel = must(draw_contestants([*CONTESTANTS, *SCALING, FAILED]))
    assert widths(panel)[:3] == [1.7, 3.1, 10.0]
    assert len(panel.patches) == len(CONTESTANTS) - 1
    assert colours(panel) == [OURS, OURS] + [OTHERS] * (len(CONTESTANTS) - 3)
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels[0] == "swiftsiam, ffcv engine"
    assert "the reference recipe\n(Pillow, torchvision, DataLoader)" in labels
    assert texts(panel)[0] == "1.70  (9,412 images/s)"
    (limit,) = [line for line in panel.lines if line.get_label().startswith("the limit")]
    assert list(limit.get_xdata()) == [1.4, 1.4]
    whiskers = panel.containers[0].lines[2][0].get_segments()  # type: ignore[attr-defined]
    assert whiskers[0][:, 0] == pytest.approx([1.7 - 0.085, 1.7 + 0.085])
    assert "A CPU, 16 cores, 16 workers, 224 px, batch 64, n 5 rounds" in drawn.get_suptitle()


def test_scaling_stands_beside_the_ideal() -> None:
    _, panel = must(draw_scaling(SCALING[::-1] + CONTESTANTS))
    ideal, measured = panel.lines[:2]
    assert list(ideal.get_xdata()) == list(measured.get_xdata()) == [1, 2, 4, 8, 16]
    assert list(ideal.get_ydata()) == [500, 1000, 2000, 4000, 8000]
    assert list(measured.get_ydata()) == [500, 950, 1800, 3400, 6000]
    assert texts(panel)[-1] == "6,000  (× 12.00)"
    assert len(texts(panel)) == 4  # beside the first there is no room


def test_stages_are_stacked() -> None:
    drawn, panel = must(draw_stages(CONTESTANTS))
    assert len(panel.patches) == 2 * len(NAMES)
    ends = [start + width for start, width in zip(starts(panel), widths(panel), strict=True)]
    assert max(ends[::2]) == pytest.approx(sum(STAGES.values()))
    assert starts(panel)[2] == widths(panel)[0] == STAGES["read"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == list(NAMES)
    assert texts(panel)[-2:] == ["1.71 in all", "2.91 in all"]
    assert "1.30" in texts(panel)
    assert "0.00" not in texts(panel)  # no room in a bar


def test_a_waterfall_floats_from_one_lane_to_the_next() -> None:
    _, panel = must(draw_waterfall([*LANES, ROOF]))
    assert starts(panel) == [0, 0, 0, 1000, 1500, 2100, 0]
    assert widths(panel) == [1050, 2000, 1000, 500, 600, -50, 2050]
    assert colours(panel) == [OTHERS, OTHERS, OURS, GAIN, GAIN, LOSS, OURS]
    labels = [label.get_text() for label in panel.get_yticklabels()]
    assert labels[0] == "plain loop, float32"
    assert labels[-2:] == ["+ fused", "our step, all lanes"]
    assert texts(panel)[-2:] == ["2,050  (× 0.98)", "2,050"]


def test_lanes_stand_below_the_roof() -> None:
    drawn, panel = must(draw_roofline([*MOVED, ROOF]))
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "log")
    slope, *flat = panel.lines[:4]
    assert slope.get_ydata()[1] == 800.0
    assert slope.get_xdata()[1] == pytest.approx(200.0)  # FLOP a byte
    assert slope.get_ydata()[0] / slope.get_xdata()[0] == pytest.approx(4.0)
    assert [line.get_ydata()[0] for line in flat] == [50.0, 400.0, 800.0]
    assert flat[0].get_xdata()[0] == pytest.approx(12.5)
    points = [container.lines[0] for container in panel.containers]  # type: ignore[attr-defined]
    assert [point.get_xdata()[0] for point in points[:2]] == pytest.approx([50.0, 50 / 0.95])
    assert points[0].get_ydata()[0] == pytest.approx(52.5)
    fp32, tf32, bf16 = (line.get_color() for line in flat)
    assert [point.get_color() for point in points] == [fp32, bf16, fp32, tf32, bf16, bf16]
    assert len(drawn.legends[0].get_texts()) == 4 + len(MOVED)
    low, high = panel.get_ylim()
    assert low < min(point.get_ydata()[0] for point in points)
    assert high > 800


@pytest.mark.parametrize(
    "drawn",
    [
        draw_contestants(CONTESTANTS),
        draw_contestants(CONTESTANTS[:1]),
        draw_scaling(SCALING),
        draw_scaling(SCALING[:2]),
        draw_scaling(MANY),
        draw_stages(CONTESTANTS),
        draw_waterfall(LANES),
        draw_roofline([*MOVED, ROOF]),
    ],
    ids=["contestants", "one", "scaling", "two", "many", "stages", "waterfall", "roofline"],
)
def test_all_words_can_be_read(drawn: Figure | None) -> None:
    drawn, panel = must(drawn)
    whole = drawn.bbox
    assert drawn.get_figwidth() * 100 == 900
    shown = [text for text in drawn.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = []
    for text in shown:
        assert text.get_fontsize() >= LEAST_POINTS, text
        box = text.get_window_extent()
        is_inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0
        assert (is_inside and box.y1 <= whole.y1) or not in_view(text, panel), text
        if in_view(text, panel):
            boxes.append((text.get_text(), box))
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)


def in_view(text: Text, panel: Axes) -> bool:
    """False: a tick beyond the axis, which is not drawn."""
    for axis, place in ((panel.xaxis, 0), (panel.yaxis, 1)):
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        for tick in ticks:
            if text in (tick.label1, tick.label2):
                low, high = sorted(panel.get_xlim() if place == 0 else panel.get_ylim())
                return low <= tick.get_loc() <= high
    return True


def test_a_long_machine_and_a_dollar_stay_within_the_title() -> None:
    machine = MACHINE | {"gpu": "A GPU of $5 and $6", "cpu": "INTEL(R) XEON(R) " * 4}
    drawn = open_figure("Speed", [loader("ffcv", 1.7, machine=machine)], height=3.0, more="64 px")
    drawn.draw_without_rendering()
    (title,) = [text for text in drawn.findobj(Text) if text.get_text().startswith("Speed")]
    assert title.get_window_extent().x1 < drawn.bbox.x1
    assert r"\$5" in title.get_text()
    assert title.get_text().endswith("\n64 px, n 5 rounds")


def test_what_was_not_measured_is_not_drawn() -> None:
    assert draw_contestants([*SCALING, LIMIT, FAILED]) is None
    assert draw_scaling([*CONTESTANTS, SCALING[0]]) is None
    assert draw_stages([LIMIT, *SCALING]) is None
    assert draw_waterfall([*LANES[:2], ROOF]) is None
    assert draw_roofline(MOVED) is None
    assert draw_roofline([*LANES, ROOF]) is None


def test_each_contestant_has_a_name_in_words() -> None:
    told = [tell_contestant(record) for record in CONTESTANTS]
    assert len(set(told)) == len(CONTESTANTS)
    assert all(tell_contestant(loader(name, 1.0)).startswith("swiftsiam, ") for name in ENGINES)


def test_the_command_draws_all_that_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loader.json").write_text(json.dumps([*CONTESTANTS, *SCALING]))
    (tmp_path / "step.json").write_text(json.dumps([*MOVED, ROOF]))
    assert main(["pictures", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [f"drawn: {tmp_path / name}" for name in PICTURES]
    for name in PICTURES:
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"
            assert image.width == 1350
            assert 400 <= image.height <= 1350
        assert (tmp_path / name).stat().st_size < 400_000


def test_the_command_names_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loader.json").write_text(json.dumps([CONTESTANTS[0]]))
    assert main(["pictures", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"drawn: {tmp_path / 'contestants.png'}",
        "left out: scaling.png: loader.json holds no scaling (bench loader --scaling)",
        "left out: stages.png: loader.json holds no stages of our engines (bench loader)",
        "left out: waterfall.png: there is no step.json",
        "left out: roofline.png: there is no step.json",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"loader.json", "contestants.png"}


def test_a_folder_without_results_is_told_in_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"RESULTS_FOLDER=.*: holds neither loader.json nor st"):
            draw_all(folder)
    (tmp_path / "step.json").write_text("{}")
    with pytest.raises(UserError, match=r"RESULTS_FOLDER=.*step.json: no results of a benchmark"):
        main(["pictures", str(tmp_path)])
