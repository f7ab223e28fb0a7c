"""No writable home, no writable installation: containers that run as a user unknown to them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from swiftsiam.pipeline import compiling

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
USER = 12345  # that no system knows by name

START = """
import sys
from swiftsiam.pipeline import compiling
from swiftsiam.pipeline.augment.cpu import augment_view
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_train_specs
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.philox import order_keys
from swiftsiam.pipeline.sources import open_source

if __name__ == "__main__":
    assert compiling.__file__.startswith(sys.argv[1]), compiling.__file__
    loader = build_loader(
        source=open_source(sys.argv[2]), specs=build_train_specs(AugmentConfig(size=16)),
        global_batch_size=4, train=True, engine=sys.argv[3], num_workers=1,
    )
    with loader:
        assert next(iter(loader)).views[0].shape[0] == 4
    print(order_keys.stats.cache_path)
    print(sum(order_keys.stats.cache_hits.values()), sum(order_keys.stats.cache_misses.values()))
    print(sum(augment_view.stats.cache_misses.values()))
"""

COMPILE = """
import sys
from swiftsiam.pipeline.philox import order_keys
order_keys(1, 2, 3)
print(order_keys.stats.cache_path)
"""


def as_stranger(*command: object) -> list[str]:
    """The command as a user without a name; it reads what root may read, and writes as itself.

    A virtual environment may lie below root's own folder.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root, with setpriv, can start a process as another user")
    read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    stranger = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *read]
    prefix = ["setpriv", *stranger, sys.executable]
    probe = subprocess.run([*prefix, "-c", ""], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no process can be started as another user here: {probe.stderr}")
    return [*prefix, *map(str, command)]


def run(command: list[str], *, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run in `folder` without a home, but with `environment`."""
    kept = {"PATH", "LD_LIBRARY_PATH", "TURBOJPEG_LIBRARY"}
    inherited = {name: value for name, value in os.environ.items() if name in kept}
    done = subprocess.run(
        command,
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder of the stranger's, and temporary files within; all parents may be read."""
    work = tmp_path / "work"
    (work / "tmp").mkdir(parents=True)
    for folder in (work, work / "tmp"):
        os.chown(folder, USER, USER)
    return work


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A copy of the package that nobody but root can write to; for PYTHONPATH."""
    package = tmp_path / "site" / "swiftsiam"
    hide = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "cli", package, ignore=hide)
    for room in ("pipeline", "model", "train", "benchmarks"):
        shutil.copytree(ROOT / room, package / room, ignore=hide)
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return package.parent


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("ffcv", marks=pytest.mark.engine("ffcv")),
        # They compile a part of what that one does, half a minute each.
        pytest.param("torchvision", marks=pytest.mark.campaign),
        pytest.param("dali", marks=[pytest.mark.engine("dali"), pytest.mark.campaign]),
    ],
)
def test_every_engine_starts_and_keeps_what_it_compiled(
    engine: str, class_folder: Path, installation: Path, place: Path
) -> None:
    script = place / "start.py"
    script.write_text(START)
    command = as_stranger(script, installation, class_folder, engine)
    environment = {"PYTHONPATH": str(installation), "TMPDIR": str(place / "tmp")}
    first, second = (run(command, folder=place, **environment) for _ in range(2))
    assert first.stdout.splitlines()[1] == "0 1"
    folder, counts, misses = second.stdout.splitlines()
    assert Path(folder).parent == place / "tmp" / f"swiftsiam-{USER}"
    assert (counts, misses) == ("1 0", "0")
    kept = {path.name.split("-")[0] for path in Path(folder).parent.rglob("*.nbi")}
    assert {"philox.order_keys", "kernel.augment_view"} <= kept
    assert "warning" not in first.stderr + second.stderr
    assert not list(place.rglob("~"))


def folder_of(place: Path, installation: Path, **environment: str) -> tuple[str, str]:
    """(where the stranger's code is kept, stderr)."""
    environment = {"TMPDIR": str(place / "tmp"), "PYTHONPATH": str(installation)} | environment
    done = run(as_stranger("-c", COMPILE), folder=place, **environment)
    assert not list(place.rglob("~*"))
    return done.stdout.strip(), done.stderr


def test_the_cache_of_the_user_comes_before_temporary_files(place, installation) -> None:
    cache = place / "cache"
    kept, errors = folder_of(place, installation, XDG_CACHE_HOME=str(cache))
    assert Path(kept).parent == cache / "swiftsiam"
    assert not errors
    kept, errors = folder_of(place, installation, HOME=str(place))
    assert Path(kept).parent == place / ".cache" / "swiftsiam"
    assert not errors


@pytest.mark.parametrize("home", ["", "~", "/", "/nowhere"])
def test_a_home_that_is_none_is_passed_over(home, place, installation) -> None:
    kept, errors = folder_of(place, installation, HOME=home)
    assert Path(kept).parent == place / "tmp" / f"swiftsiam-{USER}"
    assert Path(kept).parent.stat().st_mode & 0o777 == 0o700
    assert not errors


def test_numbas_own_folder_is_used_if_it_can_be(place, installation) -> None:
    named = place / "named"
    kept, errors = folder_of(place, installation, NUMBA_CACHE_DIR=str(named))
    assert Path(kept).parent == named
    assert not errors
    for unusable in ("/proc/nowhere", "~/named"):
        kept, errors = folder_of(place, installation, NUMBA_CACHE_DIR=unusable)
        assert Path(kept).parent == place / "tmp" / f"swiftsiam-{USER}"
        assert len(errors.splitlines()) == 1
        assert f"NUMBA_CACHE_DIR={unusable} cannot be written to" in errors


@pytest.fixture
def only_temporary(tmp_path, monkeypatch) -> Path:
    """The one folder for temporary files."""
    monkeypatch.setattr(compiling, "_TEMPORARY", ())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_temporary_folder_open_to_others_is_not_used(only_temporary) -> None:
    folder = only_temporary / f"swiftsiam-{os.geteuid()}"
    assert compiling._private_folder() == compiling._private_folder() == folder
    folder.chmod(0o770)
    assert compiling._private_folder() is None
    folder.rmdir()
    (only_temporary / "other").mkdir(mode=0o700)
    folder.symlink_to("other")
    assert compiling._private_folder() is None


def test_a_temporary_folder_of_another_is_not_used(only_temporary) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = compiling._private_folder()
    assert folder is not None
    os.chown(folder, USER, USER)
    assert compiling._private_folder() is None


def test_without_any_folder_one_line_says_so(place, installation) -> None:
    code = "from swiftsiam.pipeline import compiling; compiling._TEMPORARY = ()\n" + COMPILE
    command = as_stranger("-c", code + "order_keys(True, 2, 3)")
    done = run(command, folder=place, PYTHONPATH=str(installation), TMPDIR="/proc")
    assert done.stdout == "None\n"
    assert len(done.stderr.splitlines()) == 1
    assert "no folder can be written to" in done.stderr
