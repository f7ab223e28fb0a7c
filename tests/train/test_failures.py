"""What fails in the machine or for want of something: one line, nothing lost, no folder left."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from swiftsiam.pipeline import files
from swiftsiam.pipeline.loader import Loader
from swiftsiam.train import device, preflight
from swiftsiam.train.checkpoint import list_checkpoints
from swiftsiam.train.signals import StopRequest

from .conftest import TIMEOUT_S, Cli, assert_same_run, refused, start, tiny

pytestmark = pytest.mark.slow


def small(pictures: Path, run: str, *overrides: str) -> list[str]:
    """2 epochs of 5 steps without evaluation."""
    return tiny(pictures, run, "data.val_path=null", "train.log_every=1", *overrides)


@pytest.fixture
def undisturbed(pictures: Path, here: Cli, tmp_path: Path) -> Path:
    done = here(*small(pictures, "undisturbed"))
    assert done.returncode == 0, done.stderr
    return tmp_path / "undisturbed"


def test_a_stop_ends_a_wait_for_data_that_never_comes(
    undisturbed: Path, pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, asked = Loader._check, []

    def hang_at_the_fourth(self: Loader, result: object) -> object:
        asked.append(1)
        if len(asked) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait()
        return check(self, result)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Loader, "_check", hang_at_the_fourth)
        done = here(*small(pictures, "run"))
    assert done.returncode == 75, done.stderr
    assert "stopped after saving" in done.stdout
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step000000003.pt"
    assert here("pretrain", "--resume", "run").returncode == 0
    assert_same_run(undisturbed, tmp_path / "run")


def test_a_full_disk_is_told_and_the_last_checkpoint_kept(
    undisturbed: Path, pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, saved = os.fsync, []

    def fsync(handle: int) -> None:
        if ".pt." in os.readlink(f"/proc/self/fd/{handle}"):  # noqa: PTH115
            saved.append(1)
            if len(saved) > 3:
                raise OSError(errno.ENOSPC, "No space left on device")
        plain(handle)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", fsync)
        done = here(*small(pictures, "run", "run.checkpoint_every_s=0"))
    refused(done, "run.dir=", "step 4", "No space left", "make room", "--resume", code=1)
    names = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(names) == ["step000000002.pt", "step000000003.pt"]
    assert here("pretrain", "--resume", "run").returncode == 0
    assert_same_run(undisturbed, tmp_path / "run")


def test_what_cannot_fit_is_refused_before_the_start(
    pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    refused(here(*small(pictures, "run")), "run.dir=", "3 MB are free")
    assert not list(tmp_path.iterdir())


@pytest.mark.engine("ffcv", formats=("beton",))
def test_an_engine_that_cannot_start_leaves_no_run_folder(
    pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = small(pictures, "run")
    with monkeypatch.context() as patched:
        patched.setenv("TURBOJPEG_LIBRARY", "/nowhere/libturbojpeg.so")
        refused(here(*arguments, "loader.engine=ffcv"), "libturbojpeg", "apt-get install")
    assert not list(tmp_path.iterdir())
    assert here(*arguments, "loader.engine=torchvision").returncode == 0


def test_a_failure_before_the_first_step_leaves_no_run_folder(
    pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swiftsiam.train.step import TrainStep

    def step(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "__call__", step)
        with pytest.raises(ZeroDivisionError, match="a bug"):  # which is told by its traceback
            here(*small(pictures, "run"))
    assert not list(tmp_path.iterdir())
    assert here(*small(pictures, "run")).returncode == 0


def test_where_torch_compile_does_not_work(
    pictures: Path, here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object, **__: object) -> object:
        raise RuntimeError("No working C++ compiler found in ['g++']\nand more lines")

    monkeypatch.setattr(torch, "compile", no_compiler)
    done = here(*small(pictures, "run", "train.compile=on"))
    refused(done, "train.compile=on", "No working C++ compiler", "train.compile=off")
    assert not list(tmp_path.iterdir())
    choice = device.choose_compile("auto", "cuda", steps=10**6, flops=1e12)
    assert choice.name == "off"
    assert "No working C++ compiler" in choice.why
    assert device.choose_compile("auto", "cpu", steps=10**6, flops=1e12).name == "off"


@pytest.mark.slow
def test_without_a_compiler_torch_compile_is_refused_in_one_line(
    pictures: Path, tmp_path: Path
) -> None:
    environment = {"PATH": "/nowhere", "CXX": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "ind")}
    program = (
        "import sys; from swiftsiam.train.device import try_compile; print(try_compile('cpu'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "compiler" in done.stdout.lower()


@pytest.mark.slow
def test_a_worker_killed_by_the_system_is_told_after_saving(
    undisturbed: Path, pictures: Path, here: Cli, tmp_path: Path
) -> None:
    """As the system kills one when memory runs out; the run goes on from the last step taken."""
    killer = (
        "import os, psutil, sys\n"
        "from pathlib import Path\n"
        "from swiftsiam.train.step import TrainStep\n"
        "plain, done = TrainStep.__call__, []\n"
        "def step(self, *views):\n"
        "    plain(self, *views)\n"
        "    done.append(1)\n"
        "    if len(done) == 3:\n"
        "        for server in psutil.Process().children():\n"
        "            for worker in server.children(): worker.kill()\n"
        "if __name__ == '__main__':  # workers import this file\n"
        "    TrainStep.__call__ = step\n"
        "    from swiftsiam.__main__ import main\n"
        "    sys.exit(main())\n"
    )
    script = tmp_path / "killer.py"
    script.write_text(killer)
    arguments = small(pictures, "run", "loader.engine=torchvision", "data.num_workers=1")
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    refused(done, "loader worker", "exited unexpectedly", "killed", code=1)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")
    assert here("pretrain", "--resume", "run").returncode == 0
    assert_same_run(undisturbed, tmp_path / "run")


@pytest.mark.slow
def test_ctrl_c_in_the_first_seconds_is_one_line(pictures: Path, tmp_path: Path) -> None:
    for event in ("import:torch", "import:numba", "open:config.yaml"):
        process = start(small(pictures, "run"), tmp_path, dies_at=f"{event} SIGINT")
        out, err = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 130, (event, out, err)
        assert err == "swiftsiam pretrain: interrupted\n", event
        assert not list(tmp_path.iterdir()), event


@pytest.mark.slow
def test_two_starts_of_one_line_at_once(pictures: Path, tmp_path: Path) -> None:
    """One begins; the other says so, or goes on with what the first has finished."""
    line = [a for a in small(pictures, "run") if not a.startswith("run.dir")] + ["--resume", "run"]
    both = [start(line, tmp_path) for _ in range(2)]
    ended = [process.communicate(timeout=TIMEOUT_S) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 2]), ended
    for process, (_, err) in zip(both, ended, strict=True):
        if process.returncode == 2:
            assert "another process" in err
            assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 10


def test_a_folder_that_another_holds(pictures: Path, here: Cli, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with files.Lock(tmp_path / "run" / ".lock"):
        refused(here(*small(pictures, "run")), "run.dir=", "another process")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").write_text("dear")
    refused(here(*small(pictures, "thesis")), "run.dir=", "exists already")
    refused(here(*small(pictures, "thesis/chapter1")), "run.dir=", "exists already")
    refused(here(*small(pictures, "thesis/chapter1/run")), "run.dir=", "cannot be made")
    # What is left of a start that was killed before config.yaml is no hindrance.
    (tmp_path / "run" / ".config.yaml.1.tmp").touch()
    assert here(*small(pictures, "run")).returncode == 0


def test_a_run_within_its_own_data_is_refused(pictures: Path, here: Cli, tmp_path: Path) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    for name, split in (("data.path", "train"), ("data.val_path", "val")):
        arguments = [*tiny(data, "run"), f"run.dir={data / split / 'dark' / 'run'}"]
        refused(here(*arguments), "run.dir=", f"lies within {name}=")
    default = [a for a in tiny(data, "") if not a.startswith("run.dir")]
    refused(here(*default, "data.path=."), "run.dir=", "lies within data.path=")
    # A name that begins alike is another folder.
    assert here(*small(data, f"{data}/train-run")).returncode == 0


def test_too_few_pictures(pictures: Path, here: Cli) -> None:
    refused(here(*small(pictures, "run"), "data.limit=1"), "data.path", "1 picture", "two or more")
    refused(here(*small(pictures, "run"), "data.limit=5"), "train.batch_size=8", "2 or less")


def test_class_names_of_another_system_are_the_same(
    pictures: Path, here: Cli, tmp_path: Path
) -> None:
    """A "é" in one character, as Linux has it, and in two, as macOS writes it."""
    data = Path(shutil.copytree(pictures, tmp_path / "data"))
    for split, form in (("train", "NFC"), ("val", "NFD")):
        (data / split / "dark").rename(data / split / unicodedata.normalize(form, "café"))
    assert here(*tiny(data, "run", "train.epochs=1")).returncode == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["knn"] is not None


def test_a_signal_that_is_to_be_ignored_stays_ignored() -> None:
    """`nohup`, and a shell's background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.asked
    finally:
        signal.signal(signal.SIGHUP, before)


def test_names_are_numbered_past_a_run_that_is_just_beginning(
    pictures: Path, here: Cli, tmp_path: Path
) -> None:
    arguments = [a for a in small(pictures, "") if not a.startswith("run.dir")]
    assert here(*arguments).returncode == 0
    assert here(*arguments).returncode == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["cifar10-cpu", "cifar10-cpu-2"]


def test_a_summary_says_with_what_it_was_made(undisturbed: Path) -> None:
    versions = json.loads((undisturbed / "summary.json").read_text())["versions"]
    assert {"python", "swiftsiam", "torch", "commit"} <= versions.keys()
    first = (undisturbed / "config.yaml").read_text().splitlines()[0]
    assert first == f"# swiftsiam {versions['swiftsiam']}, commit {versions['commit']}"


@pytest.mark.parametrize("engine", ["torchvision", "ffcv", "dali"])
def test_validation_without_a_readable_picture_is_refused_at_the_start(
    engine: str, pictures: Path, here: Cli, tmp_path: Path
) -> None:
    for name in ("dark", "light"):
        (tmp_path / "empty" / name).mkdir(parents=True)
        (tmp_path / "empty" / name / "1.jpg").touch()
    done = here(*small(pictures, "run"), "data.val_path=empty", f"loader.engine={engine}")
    refused(done, "dark/1.jpg", "empty")
    assert not (tmp_path / "run").exists()
