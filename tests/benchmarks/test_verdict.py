"""The verdict: made-up figures whose answer is known."""

import dataclasses
import math

import pytest
from swiftsiam.benchmarks.bounds import Figures, bounds
from swiftsiam.benchmarks.neighbours import MOST_OTHERS
from swiftsiam.benchmarks.smaller import Smaller
from swiftsiam.benchmarks.verdict import PARTS, judge, print_verdict

# 2 cores; an image takes the loader 2 ms of a worker's time: 1,000 images/s.
STAGES = {"read": 0.1, "decode": 1.2, "crop": 0.3, "colour": 0.3, "copy": 0.0, "rest": 0.1}
LOADER = Figures(
    cores=2, num_workers=2, loader_rate=1000.0, loader_core_ms=2.0, stages=STAGES, data="photos"
)
GPU = dataclasses.replace(
    LOADER, is_gpu=True, num_workers=1, loader_rate=500.0, step_rate=4000.0, step_core_ms=0.1
)


def slowed(figures: Figures, stage: str, times: float) -> Figures:
    """As it would be measured with a stage that takes so many times as long."""
    more = (times - 1) * figures.stages[stage]
    stages = figures.stages | {stage: times * figures.stages[stage]}
    return dataclasses.replace(
        figures,
        stages=stages,
        loader_core_ms=figures.loader_core_ms + more,
        loader_rate=figures.loader_rate * figures.loader_ms / (figures.loader_ms + more),
    )


@pytest.mark.parametrize(
    ("stage", "times", "limit"),
    [
        ("read", 30, "read"),
        ("decode", 3, "decode"),
        ("crop", 8, "views"),
        ("colour", 8, "views"),
        ("copy", 1, "decode"),
        ("rest", 30, "rest"),
    ],
)
def test_what_takes_longest_is_named(stage: str, times: float, limit: str) -> None:
    verdict = judge(slowed(LOADER, stage, times))
    assert verdict.limit == limit
    assert verdict.lines[0].startswith(f"limited by {PARTS[limit]}: ")
    assert "of the loader's time" in verdict.lines[0]


def test_shares_and_gains_are_those_of_the_model() -> None:
    verdict = judge(dataclasses.replace(LOADER, smaller=Smaller(decode=0.25, crop=0.5)))
    assert verdict.share_percent == pytest.approx(60.0)
    small, raw = sorted(verdict.remedies, key=lambda remedy: remedy.gain)
    assert small.text == "swiftsiam convert photos SMALL.beton --to beton --max-side 256"
    assert small.gain == pytest.approx(2.0 / (2.0 - 0.75 * 1.2 - 0.5 * 0.3))
    assert "--mode raw --max-side 256" in raw.text
    assert raw.gain == pytest.approx(2.0 / (0.8 - 0.5 * 0.3))
    assert f"predicted {small.gain:.2f} x: {small.text}" in verdict.lines


def test_a_disk_that_is_waited_for_is_told_from_one_that_takes_core_time() -> None:
    """20 ms of waiting an image; the cores are idle meanwhile."""
    waiting = dataclasses.replace(LOADER, stages=STAGES | {"read": 20.1}, loader_rate=1000 / 11)
    verdict = judge(waiting)
    assert verdict.limit == "read"
    best = verdict.remedies[0]
    assert "a faster disk" in best.text
    assert best.gain == pytest.approx(22.0 / 1.9, rel=0.03)
    # Without the wait the cores limit, as they did before.
    assert bounds(waiting)["cores"] == pytest.approx(1000.0)


def test_a_gpu_is_told_how_many_cores_feed_it() -> None:
    verdict = judge(dataclasses.replace(GPU, end_to_end_rate=490.0))
    assert verdict.limit == "decode"
    assert verdict.cores_to_feed == math.ceil(2.1 * 4)
    assert verdict.efficiency_percent == pytest.approx(98.0)
    assert verdict.remedies[0].text == "7 more cores for loading, which would feed this GPU"
    assert verdict.remedies[0].gain == pytest.approx(8.0)
    gpu_views = next(r for r in verdict.remedies if "loader.device=gpu" in r.text)
    assert gpu_views.gain == pytest.approx(2.0 / 1.7)
    assert not any("loader.device" in text for text, _ in judge(as_gpu_views(GPU)).remedies)


def as_gpu_views(figures: Figures) -> Figures:
    return dataclasses.replace(figures, makes_views_on_gpu=True)


def test_workers_that_are_missing_are_the_first_remedy() -> None:
    few = dataclasses.replace(LOADER, cores=8, loader_rate=1000.0, num_workers=2)
    best = judge(few).remedies[0]
    assert best.text == "data.num_workers=8"
    assert best.gain == pytest.approx(4.0)


def test_a_step_that_waits_for_nothing_is_the_limit() -> None:
    fast = dataclasses.replace(GPU, loader_rate=9000.0, cores=32, end_to_end_rate=3900.0)
    verdict = judge(fast)
    assert (verdict.limit, verdict.remedies) == ("step", ())
    assert "bench step" in verdict.lines[-1]


def test_on_a_cpu_the_cores_are_shared() -> None:
    """A step of 4.8 core-ms beside a loader of 2: 294 images/s in 2 cores, of which it has most."""
    shared = dataclasses.replace(
        LOADER, step_rate=410.0, step_core_ms=4.8, num_workers=1, loader_rate=500.0
    )
    verdict = judge(dataclasses.replace(shared, end_to_end_rate=290.0))
    assert verdict.limit == "step"
    assert verdict.share_percent == pytest.approx(100 * 4.8 / 6.8)
    assert min(verdict.bounds.values()) == pytest.approx(2000 / 6.8)
    assert verdict.unexplained_percent == 0
    assert "of the cores' time" in verdict.lines[0]


@pytest.mark.parametrize(("rate", "unexplained"), [(950, 0), (905, 0), (890, 11), (500, 50)])
def test_what_no_bound_explains_is_told(rate: float, unexplained: float) -> None:
    figures = dataclasses.replace(LOADER, step_rate=5000.0, end_to_end_rate=rate)
    verdict = judge(figures)
    assert verdict.unexplained_percent == pytest.approx(unexplained)
    assert any("unexplained" in line for line in verdict.lines) == (unexplained > 0)


def test_cores_that_are_crowded_explain_a_part() -> None:
    """Bound by 2 cores: 2 + 4 ms an image, 333 images/s; together they take 6.5 ms."""
    shared = dataclasses.replace(
        LOADER, step_rate=500.0, step_core_ms=4.0, num_workers=1, loader_rate=600.0
    )
    crowded = dataclasses.replace(shared, end_to_end_rate=280.0, end_to_end_core_ms=6.5)
    verdict = judge(crowded)
    assert verdict.efficiency_percent == pytest.approx(84.0)
    assert verdict.crowding_percent == pytest.approx(100 * 0.5 / 6.5)
    assert verdict.unexplained_percent == pytest.approx(16.0 - 100 * 0.5 / 6.5)
    assert "8 % since both together take more core time" in verdict.lines[2]
    assert "8 % are unexplained" in verdict.lines[2]
    by_gpu = dataclasses.replace(crowded, step_rate=100.0, end_to_end_rate=80.0)
    assert judge(by_gpu).crowding_percent == 0  # cores are not what is short


def test_a_busy_machine_is_told_first(capsys: pytest.CaptureFixture[str]) -> None:
    print_verdict(["a"], {"others_percent": MOST_OTHERS + 1})
    assert capsys.readouterr().out.splitlines()[0].startswith("warning: others took 26 % of")
    for quiet in (None, {"others_percent": 3.0}):
        print_verdict(["a"], quiet)
        assert capsys.readouterr().out == "verdict: a\n"
