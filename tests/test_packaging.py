"""The wheel holds everything, under one name, and runs from anywhere."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ROOMS = {"cli": "", "pipeline": "pipeline/", "model": "model/", "train": "train/"}
ROOMS |= {"benchmarks": "benchmarks/"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the wheel, alone: what earlier builds have left in the checkout would get into it."""
    folder = tmp_path_factory.mktemp("sources")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q"]
    command += ["--no-deps", "--no-build-isolation", "-w", folder, sources]
    subprocess.run(command, check=True)
    return next(folder.glob("swiftsiam-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has this wheel and, by a .pth file, the libraries of the one that runs this."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    here = next(p for p in map(Path, sys.path) if p.name == "site-packages")
    (site / "libraries.pth").write_text(f"{here}\n")
    return folder / "bin" / "python"


def test_wheel_holds_every_module_and_recipe(wheel: Path, sources: Path) -> None:
    expected = {
        f"swiftsiam/{place}{path.relative_to(sources / room)}"
        for room, place in ROOMS.items()
        for pattern in ("*.py", "*.yaml")
        for path in (sources / room).rglob(pattern)
        if "results" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert expected <= set(names)
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"swiftsiam"}


@pytest.mark.parametrize("place", ["checkout", "elsewhere"])
def test_wheel_runs(installed: Path, place: str, tmp_path: Path) -> None:
    """From the checkout's root too, where folders of the same names as ours lie."""
    folder = ROOT if place == "checkout" else tmp_path
    code = (
        "import swiftsiam.train.config as c, swiftsiam; print(swiftsiam.__file__);"
        "print(c.read_config('cifar10-cpu').train.batch_size);"
        "import runpy, sys; sys.argv = ['swiftsiam', 'pretrain', '--help'];"
        "runpy.run_module('swiftsiam', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [installed, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    origin, batch_size, shown = done.stdout.split("\n", 2)
    assert str(installed.parent.parent) in origin
    assert batch_size == "64"
    assert "cifar10-cpu" in shown
