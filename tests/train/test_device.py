"""What is decided by the machine: device, precision, compile, workers, engine."""

from pathlib import Path

import pytest
import torch
from swiftsiam.pipeline import engines
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.placement import Machine
from swiftsiam.pipeline.sources import open_source
from swiftsiam.train import device
from swiftsiam.train.config import Config, parse_config


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, as far as questions about it go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(device, "try_compile", lambda name: None)
    monkeypatch.setattr(device, "num_cores", lambda: 16)


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "num_cores", lambda: 16)


def config(*overrides: str) -> Config:
    return parse_config({}, list(overrides))


@pytest.mark.usefixtures("cuda")
def test_with_a_gpu() -> None:
    resolved = device.resolve(config()).config
    assert (resolved.train.device, resolved.train.precision) == ("cuda", "bf16")
    assert resolved.data.num_workers == 15
    assert device.resolve(config(), sharing=4).config.data.num_workers == 3


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize(
    ("flags", "precision"), [("avx2", "fp32"), ("avx512_bf16", "bf16"), ("amx_bf16", "bf16")]
)
def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, flags: str, precision: str) -> None:
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset((flags,)))
    resolved, reasons = device.resolve(config())
    assert (resolved.train.device, resolved.train.precision) == ("cpu", precision)
    assert (resolved.data.num_workers, resolved.train.num_threads) == (8, 16)
    decided, why = device.settle_compile(resolved, steps=10**9)
    assert (decided.train.compile, why.name) == ("off", "off")
    assert all(choice.why for choice in reasons.values())


@pytest.mark.usefixtures("no_cuda")
def test_what_is_asked_for_is_taken_or_refused() -> None:
    asked = device.resolve(
        config(
            "train.device=cpu",
            "train.precision=bf16",
            "train.compile=off",
            "data.num_workers=3",
            "train.num_threads=2",
            "loader.engine=torchvision",
            "loader.device=cpu",
        )
    )
    assert (asked.config.train.precision, asked.config.data.num_workers) == ("bf16", 3)
    assert asked.config.train.num_threads == 2
    assert {choice.why.partition(".")[0] for choice in asked.reasons.values()} == {
        "asked for by train",
        "asked for by loader",
    }
    with pytest.raises(UserError, match=r"train.device=cuda: torch sees no CUDA device"):
        device.resolve(config("train.device=cuda"))
    with pytest.raises(UserError, match=r"train.precision=fp16: needs a CUDA device"):
        device.resolve(config("train.precision=fp16"))


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    ("steps", "overrides", "decided", "why"),
    [
        (250_000, (), "on", "pays within a run of 250,000 steps"),
        (300, (), "off", "its 300 steps should take about"),
        (300, ("train.compile=on",), "on", "asked for"),
        (250_000, ("train.compile=off",), "off", "asked for"),
    ],
)
def test_compiling_is_left_where_the_run_is_too_short_to_pay(
    steps: int, overrides: tuple[str, ...], decided: str, why: str
) -> None:
    asked = device.resolve(config(*overrides)).config
    settled, choice = device.settle_compile(asked, steps=steps)
    assert settled.train.compile == choice.name == decided
    assert why in choice.why


@pytest.mark.usefixtures("cuda")
def test_an_old_card_without_bf16_takes_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert device.resolve(config()).config.train.precision == "fp16"


@pytest.mark.usefixtures("no_cuda")
def test_the_engine_is_chosen_by_the_format_of_the_data(
    class_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the validation data as well: the same engine reads them."""
    monkeypatch.setattr(engines.Need, "is_met", lambda need: need.name != "FFCV")
    beton = tmp_path / "x.beton"
    beton.touch()  # a look at the name is enough

    def engine(path: Path, val_path: Path) -> str:
        asked = config(f"data.path={path}", f"data.val_path={val_path}")
        return device.resolve(asked).config.loader.engine

    assert engine(class_folder, class_folder) == "ffcv"
    assert engine(beton, class_folder) == engine(class_folder, beton) == "torchvision"


@pytest.mark.parametrize(
    ("precision", "place", "dtype"),
    [
        ("fp32", "cpu", torch.float32),
        ("fp32", "gpu", torch.float32),
        ("bf16", "cpu", torch.bfloat16),
        ("bf16", "gpu", torch.bfloat16),
        ("fp16", "cpu", torch.float32),  # the CPU kernel makes no float16
        ("fp16", "gpu", torch.float16),
    ],
)
def test_views_are_of_the_steps_dtype(precision: str, place: str, dtype: torch.dtype) -> None:
    assert device.view_dtype(precision, loader_device=place) == dtype


@pytest.mark.parametrize(
    ("machine", "overrides", "placed"),
    [
        (Machine("cpu"), (), ("cpu", "off")),
        (Machine("cuda", True, 4.0, 10**9), (), ("gpu", "on")),
        (Machine("cuda", True, 4.0, 10**9), ("loader.resident=off",), ("gpu", "off")),
        (Machine("cuda", True, 4.0, 10**9), ("loader.device=cpu",), ("cpu", "off")),
    ],
)
def test_where_views_are_made_is_decided_and_told(
    class_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: Machine,
    overrides: tuple[str, ...],
    placed: tuple[str, str],
) -> None:
    monkeypatch.setattr(Machine, "look", lambda name: machine)
    asked = config("loader.engine=torchvision", *overrides)
    decided, choice = device.place_views(asked, open_source(class_folder))
    assert (decided.loader.device, decided.loader.resident) == placed
    assert choice.name == f"made on the {placed[0].upper()}"
    assert choice.why
