"""The rooms and the directions between them."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "pipeline": set(),
    "model": set(),
    "train": {"pipeline", "model"},
    "benchmarks": {"pipeline", "model", "train"},
}
"""Which room imports which."""

ALLOWED_IN_PIPELINE = {
    "augment": set(),
    "sources": set(),
    "demo": set(),
    "convert": {"sources"},
    "index": {"sources"},
    "engines": {"augment", "sources"},
}
"""The same for its inner rooms."""

TOP_OF_PIPELINE = {"loader", "building", "config", "doctor"}
"""Its modules that stand on the inner rooms; all others are below them."""


def imported_rooms(path: Path, room: str) -> Iterator[str]:
    """Other rooms that a module imports, relatively or by name."""
    depth = len(path.relative_to(ROOT).parts)  # dots that lead out of the room
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (name.split(".")[0] for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("swiftsiam."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("swiftsiam."):
                    yield alias.name.split(".")[1]


def list_modules() -> dict[str, Path]:
    """Every module of the house under its dotted name."""
    modules = {}
    for room in ("cli", *ALLOWED):
        for path in (ROOT / room).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = list_modules()


def imported_modules(name: str, *, everywhere: bool) -> Iterator[str]:
    """What a module imports of the house, relatively: at its top, or within its functions too."""
    path = MODULES[name]
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            package = path.relative_to(ROOT).parts[: -node.level]
            base = ".".join((*package, *filter(None, [node.module])))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if full in MODULES or base in MODULES:
                    yield full if full in MODULES else base


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_one_way(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        for other in imported_rooms(path, room):
            assert other in ALLOWED[room] | {room}, f"{path.relative_to(ROOT)} imports {other}"


@pytest.mark.parametrize("room", ALLOWED_IN_PIPELINE)
def test_rooms_of_the_pipeline_import_one_way(room: str) -> None:
    files = [name for name in MODULES if name.startswith(f"pipeline.{room}.")]
    assert files
    others = {*ALLOWED_IN_PIPELINE, *TOP_OF_PIPELINE} - ALLOWED_IN_PIPELINE[room] - {room}
    for name in files:
        for imported in imported_modules(name, everywhere=True):
            inner = imported.split(".")[1]
            assert inner not in others, f"{name} imports {imported}"


def test_every_inner_room_of_the_pipeline_has_its_place() -> None:
    inner = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert inner == set(ALLOWED_IN_PIPELINE)


def test_imports_go_in_no_circle() -> None:
    graph = {name: set(imported_modules(name, everywhere=False)) for name in MODULES}
    assert sum(map(len, graph.values())) > 300
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError and names them


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=500
    )
    return done.stdout


@pytest.mark.slow
def test_importing_loads_neither_dali_nor_ffcv() -> None:
    modules = [
        ".".join(("swiftsiam", *path.relative_to(ROOT).with_suffix("").parts))
        for room in ("pipeline", "model", "train")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__init__.py"
        and not path.name.startswith(("ffcv", "dali"))
        and "engines" not in path.parts
    ]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('nvidia', 'ffcv')])"
    )
    loaded = ast.literal_eval(run_python(code))
    assert not [m for m in loaded if "dali" in m or "ffcv" in m]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['swiftsiam', '--help']\nfrom swiftsiam.__main__ import main\n"
        "main()\nprint({'torch', 'numpy', 'numba', 'pydantic'} & set(sys.modules))"
    )
    assert run_python(code).endswith("set()\n")
