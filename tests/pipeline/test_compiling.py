"""What is compiled is kept on disk exactly as long as all that is compiled into it stays."""

import argparse
import dis
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import CodeType, FunctionType

import numpy as np
import pytest
from numba import njit, types
from swiftsiam.pipeline import compiling, digest, philox, turbojpeg
from swiftsiam.pipeline.augment import sampler
from swiftsiam.pipeline.augment.cpu import augment_view, colour, resize, tiles, vectors
from swiftsiam.pipeline.engines.ffcv import loop

pytestmark = pytest.mark.slow

SOURCES = {
    "__init__.py": "",
    "constants.py": "LIMIT = 3\nSHIFTS = (1, 2)\n",
    "helpers.py": """
        from numba import njit
        from numba.core import cgutils
        from numba.extending import intrinsic
        from . import constants

        def emit(builder, value):
            return builder.add(value, value.type(10))

        @intrinsic
        def raised(typingctx, a):
            def codegen(context, builder, signature, args):
                return emit(builder, args[0])
            return a(a), codegen

        @njit
        def scale(x):
            return x * constants.LIMIT
    """,
    "entry.py": """
        from swiftsiam.pipeline.compiling import compiled
        from . import helpers
        from .constants import SHIFTS

        @compiled(nogil=True)
        def run(x):
            return helpers.raised(helpers.scale(x)) + SHIFTS[1] + LATER

        LATER = 100
    """,
}
START = """
    import sys
    from foreign import constants
    {patch}
    from foreign.entry import run
    print(run(2), sum(run.stats.cache_hits.values()), sum(run.stats.cache_misses.values()))
"""
ANSWER = 2 * 3 + 10 + 2 + 100


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a compiled function that is made of three modules."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name, text in SOURCES.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def start(package: Path, patch: str = "") -> tuple[int, int, int]:
    """(result, hits, misses) of a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(START).format(patch=patch)],
        # Python's own cache overlooks a file that changes within a second.
        env=environment | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result, hits, misses = map(int, done.stdout.split())
    return result, hits, misses


@pytest.mark.parametrize(
    ("name", "old", "new", "answer"),
    [
        ("constants.py", "LIMIT = 3", "LIMIT = 5", ANSWER + 4),
        ("constants.py", "(1, 2)", "(1, 3)", ANSWER + 1),
        ("helpers.py", "x * constants.LIMIT", "x - constants.LIMIT", ANSWER - 7),
        ("helpers.py", "value.type(10)", "value.type(11)", ANSWER + 1),
        ("entry.py", "LATER = 100", "LATER = 101", ANSWER + 1),
    ],
    ids=["constant", "tuple", "callee", "code of an intrinsic", "own module"],
)
def test_a_change_in_any_file_is_seen(
    package: Path, name: str, old: str, new: str, answer: int
) -> None:
    assert start(package) == (ANSWER, 0, 1)
    before = (package / name).read_text()
    assert old in before
    (package / name).write_text(before.replace(old, new))
    assert start(package) == (answer, 0, 1)
    # Two versions in turn do not drive each other out.
    (package / name).write_text(before)
    assert start(package) == (ANSWER, 1, 0)


def test_a_constant_changed_before_the_import_is_seen(package: Path) -> None:
    assert start(package) == (ANSWER, 0, 1)
    patch = "constants.LIMIT = 7"
    assert start(package, patch) == (ANSWER + 8, 0, 1)
    assert start(package, patch) == (ANSWER + 8, 1, 0)
    assert start(package) == (ANSWER, 1, 0)


def test_comments_and_a_move_within_the_file_change_nothing(package: Path) -> None:
    assert start(package) == (ANSWER, 0, 1)
    for name in ("constants.py", "helpers.py", "entry.py"):
        path = package / name
        path.write_text("# a comment\n\n" + path.read_text())
    assert start(package) == (ANSWER, 1, 0)


COVERED = [
    (philox.order_keys, philox, "_MULTIPLIER_0"),
    (philox.order_keys, philox, "PURPOSE_ORDER"),
    (philox.fill_uniform, philox, "_WEYL_1"),
    (philox.fill_uniform, philox, "_VIEW_SHIFT"),
    (sampler.draw_view, philox, "_MULTIPLIER_1"),
    (sampler.draw_view, sampler, "CROP_TRIES"),
    (sampler._draw_views, philox, "_LOW_32"),
    (augment_view, resize, "_ONE"),
    (augment_view, colour, "_RED"),
    (augment_view, tiles, "OUT_ROWS"),
    (augment_view, vectors, "LANES"),
    (loop.make_rows, loop, "MAX_PIXELS"),
    (loop.make_rows, philox, "_WEYL_0"),
    (loop.make_rows, sampler, "_FLIP"),
]


@pytest.mark.parametrize(
    ("function", "module", "name"),
    COVERED,
    ids=[f"{function.py_func.__name__}-{name}" for function, _, name in COVERED],
)
def test_the_digest_covers_constants_of_every_module(function, module, name, monkeypatch) -> None:
    before = digest.digest_of(function)
    value = getattr(module, name)
    monkeypatch.setattr(module, name, type(value)(value + type(value)(1)))
    assert digest.digest_of(function) != before
    monkeypatch.undo()
    assert digest.digest_of(function) == before


def test_the_digest_covers_symbols_and_signatures_of_a_library(monkeypatch) -> None:
    before = digest.digest_of(loop.make_rows)
    real = turbojpeg.read_header
    for symbol, sig in (("other", real.sig), (real.symbol, types.intc(types.uintp))):
        monkeypatch.setattr(turbojpeg, "read_header", types.ExternalFunction(symbol, sig))
        assert digest.digest_of(loop.make_rows) != before


def test_the_digest_covers_options_of_callees() -> None:
    def digest_with(**options: object) -> str:
        inner = njit(**options)(lambda x: x + 1)
        return digest.digest_of(njit(lambda x: inner(x)))

    assert digest_with() == digest_with()
    assert digest_with(fastmath=True) != digest_with()


def test_the_digest_is_that_of_another_process() -> None:
    code = (
        "from swiftsiam.pipeline import digest; from swiftsiam.pipeline.augment.cpu import *;"
        "print(digest.digest_of(augment_view))"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest.digest_of(augment_view)


def test_what_no_digest_can_cover_is_an_error() -> None:
    handle = object()
    for function, error in (
        (lambda: undefined_anywhere, NameError),  # noqa: F821  # pyright: ignore
        (lambda: handle, TypeError),
        (lambda: np, TypeError),
        (lambda: importlib.nothing, AttributeError),  # pyright: ignore
    ):
        with pytest.raises(error):
            digest.digest_of(njit(function))


def test_a_constant_changed_after_compiling_is_not_kept_on_disk(package, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(package.parent))
    entry = importlib.import_module("foreign.entry")
    helpers = importlib.import_module("foreign.helpers")
    assert entry.run(2) == ANSWER
    monkeypatch.setattr(helpers.constants, "LIMIT", 4)
    entry.run(np.uint64(2))
    assert len(list((package / "__pycache__").glob("*.nbc"))) == 1
    for name in ("entry", "helpers", "constants"):
        del sys.modules[f"foreign.{name}"]
    del sys.modules["foreign"]


def test_a_full_disk_stops_nothing(package, monkeypatch, capsys) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiling._Files, "_save_overload", fail)
    monkeypatch.setattr(compiling, "find_folder", lambda source: package)
    function = compiling.compiled()(lambda x: x + 1)
    assert function(1) == 2
    assert function(1.0) == 2.0
    assert capsys.readouterr().err.count("No space left on device") == 1


def reads_by_dis(code: CodeType) -> set[tuple[str, ...]]:
    """As `digest._global_reads`, by the standard library's own reading of bytecode."""
    chains, last = [], None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            chains.append(last := [instruction.argval])
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and last is not None:
            last.append(instruction.argval)
        elif instruction.opname != "EXTENDED_ARG":
            last = None
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(map(tuple, chains)).union(*map(reads_by_dis, inner))


def test_bytecode_is_read_as_the_standard_library_reads_it() -> None:
    functions = [
        value
        for holder in (argparse, argparse.ArgumentParser, argparse.HelpFormatter, digest._Walk)
        for value in vars(holder).values()
        if isinstance(value, FunctionType)
    ]
    found = 0
    for function in functions:
        try:
            reads = digest._global_reads(function.__code__)
        except TypeError:  # it imports
            continue
        assert set(reads) == reads_by_dis(function.__code__), function
        found += len(reads)
    assert found > 50


def test_every_function_on_disk_has_this_key() -> None:
    folder = Path(compiling.__file__).parent
    assert not [path for path in folder.rglob("*.py") if "cache=True" in path.read_text()]
