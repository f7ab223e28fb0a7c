"""The table of engines: what is chosen, what is offered, and that nothing else names them."""

import ast
from pathlib import Path

import pytest
from swiftsiam.pipeline import engines
from swiftsiam.pipeline.engines import ENGINES, build, choose, installed
from swiftsiam.pipeline.errors import UserError

ROOT = Path(__file__).parents[3]
_MAY = (
    ROOT / "pipeline/engines/__init__.py",
    ROOT / "benchmarks/machine.py",
    ROOT / "benchmarks/loop_loader.py",
)
"""The table itself; a list of packages, of which one is called like an engine; and what takes one
engine's loop apart.
"""


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch):
    """(names) → from now on these needs are not met, and all others are."""

    def lacking(*names: str) -> None:
        monkeypatch.setattr(engines.Need, "is_met", lambda need: need.name not in names)

    return lacking


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("formats", "missing", "chosen"),
    [
        ({"folder"}, (), "ffcv"),
        ({"folder"}, ("FFCV",), "ffcv"),  # on a folder no line of FFCV runs
        ({"folder"}, ("libturbojpeg",), "dali"),
        ({"folder"}, ("libturbojpeg", "DALI"), "torchvision"),
        ({"beton"}, (), "ffcv"),
        ({"beton"}, ("FFCV",), "torchvision"),
        ({"folder", "beton"}, ("FFCV",), "torchvision"),
        ({"beton"}, ("libturbojpeg",), "torchvision"),
        (set(), ("FFCV", "DALI"), "ffcv"),
    ],
)
def test_choice(lacking, formats: set[str], missing: tuple[str, ...], chosen: str, device) -> None:
    lacking(*missing)
    name, why = choose(formats, device)
    assert name == chosen
    assert why.startswith("loader.engine=auto: ")
    if name != "ffcv":  # and says what would have been better
        assert f"; {missing[0]} not installed (swiftsiam doctor)" in why


def test_offered_are_those_whose_needs_are_met(lacking) -> None:
    lacking("DALI", "FFCV")
    assert installed() == ["torchvision", "ffcv"]
    assert installed(reads_pictures=False) == ["synthetic"]


def test_a_missing_need_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"loader.engine=dali: needs DALI.*pip install nvidia-dali"):
        build("dali", options=None)  # type: ignore[arg-type]


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"loader.engine=fast: no such engine; one of torchvision, "
    ):
        build("fast", options=None)  # type: ignore[arg-type]


def test_no_other_module_names_the_engines() -> None:
    """Adding one takes a file and a row: whoever lists engines reads the table.

    `torchvision` alone may be named: the engine that needs nothing else.
    """
    names = set(ENGINES) - {"torchvision"}
    for room in ("pipeline", "train", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            if path.parent.name in names or path in _MAY:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert node.value not in names, f"{path.relative_to(ROOT)} names {node.value}"
