"""What a run takes of the machine, and what it is told to change."""

from types import SimpleNamespace
from typing import Any

import pytest
from swiftsiam.model.method import ModelConfig
from swiftsiam.train import usage
from swiftsiam.train.config import parse_config
from swiftsiam.train.usage import Usage, advise, find_peak


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H200", "bf16", 989e12),
        ("NVIDIA H100 80GB HBM3", "fp32", 494e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp16", 312e12),
        ("NVIDIA A10", "bf16", 125e12),
        ("NVIDIA L40S", "bf16", 362e12),
        ("NVIDIA B200", "bf16", 2250e12),
        ("Tesla V100-SXM2-16GB", "fp32", 15.7e12),
        ("a card of next year", "bf16", None),
    ],
)
def test_peaks_are_found_by_name(name: str, precision: str, peak: float | None) -> None:
    assert find_peak(name, precision) == (None if peak is None else pytest.approx(peak))


def test_utilisation_is_of_the_arithmetic_that_a_picture_needs() -> None:
    figures = Usage(flops=49_000_000_000, peak=989e12, is_cuda=False).take(4000.0)
    assert figures["mfu_percent"] == pytest.approx(19.8, abs=0.1)
    assert figures["memory_gb"] > 0
    for flops, peak in ((None, 989e12), (1, None)):
        assert list(Usage(flops, peak, is_cuda=False).take(1.0)) == ["memory_gb"]


def make_job(device: str, *, num_workers: int) -> Any:
    config = parse_config(
        {
            "data": {"path": "/data/folder", "num_workers": num_workers},
            "train": {"device": device},
        },
        [],
    )
    return SimpleNamespace(
        config=config, world=SimpleNamespace(local_size=1), source=SimpleNamespace(format="folder")
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "num_cores", lambda: 8)
    monkeypatch.setattr(usage, "choose", lambda formats, device: ("auto", "as it is"))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("device", "num_workers", "told"),
    [
        ("cuda", 4, "data.num_workers=7 uses the cores (now 4 of 8)"),
        ("cpu", 4, "data.num_workers=8 uses the cores (now 4 of 8)"),
        ("cpu", 8, "swiftsiam convert /data/folder SMALL.beton --to beton --max-side 256"),
    ],
)
def test_advice_names_what_to_change(device: str, num_workers: int, told: str) -> None:
    job = make_job(device, num_workers=num_workers)
    text = advise(job, {"data_wait_percent": 41.0})
    assert text is not None
    assert text.startswith("data-wait 41 %: the loader is what limits; ")
    assert told in text
    assert advise(job, {"data_wait_percent": 9.0}) is None


def test_a_faster_engine_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "choose", lambda formats, device: ("another", "faster"))
    text = advise(make_job("cpu", num_workers=1), {"data_wait_percent": 50.0})
    assert text is not None
    assert text.endswith("loader.engine=another is faster")


def test_a_method_that_cannot_be_counted_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    monkeypatch.setattr(usage, "count_flops", refuse)
    usage.count_of.cache_clear()
    assert usage.count_of(ModelConfig(), (224, 224)) is None
    usage.count_of.cache_clear()
