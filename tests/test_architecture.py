"""The rooms and the directions between them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "pipeline": set(),
    "model": set(),
    "train": {"pipeline", "model", "benchmarks"},
    "benchmarks": {"pipeline", "model", "train"},
}


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


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_one_way(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        for other in imported_rooms(path, room):
            assert other in ALLOWED[room] | {room}, f"{path.relative_to(ROOT)} imports {other}"


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=500
    )
    return done.stdout


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
