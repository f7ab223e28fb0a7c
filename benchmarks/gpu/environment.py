"""What there is, and whether it can work at all."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch

from ...pipeline.engines import ENGINES
from ...pipeline.machine import num_cores
from ..machine import describe_machine
from .context import Context, Record

_TESTS = Path(__file__).parents[2] / "tests"
_ASKED = "name,memory.total,driver_version,clocks.max.sm,power.limit,pcie.link.gen.current"


def environment(context: Context) -> Iterator[Record]:
    """Versions, driver, cores, compiler, room."""
    yield context.check("machine", None, **describe_machine())
    if context.is_cuda:
        card = _run(["nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader"])
        yield context.check("card", None, nvidia_smi=card, cuda=torch.version.cuda)
    # Triton and inductor compile a launcher: without these nothing of ours runs.
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    yield context.check("a C compiler", bool(compiler), path=compiler)
    yield context.check("Python.h", header.is_file(), path=str(header))
    free = {path: round(shutil.disk_usage(path).free / 1e9, 1) for path in ("/tmp", "/dev/shm")}
    yield context.check("room", None, free_gb=free, cores=num_cores())
    for name, info in ENGINES.items():
        missing = [need.name for need in info.missing()]
        yield context.check(f"{name} engine", None, missing=missing)


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def tests(context: Context) -> Iterator[Record]:
    """Those marked `gpu`, where pytest and the checkout are there."""
    if not _TESTS.is_dir():
        yield context.check("tests", None, why="not a checkout")
        return
    wanted = {"REQUIRE_GPU": "1"} if context.is_cuda else {}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    if context.is_cuda:
        only = [str(_TESTS), "-m", "gpu and not multi_gpu"]
    else:
        only = [str(_TESTS / "pipeline" / "test_loader_gpu.py"), "--collect-only"]
    done = subprocess.run(
        [*command, *only], capture_output=True, text=True, env=os.environ | wanted, check=False
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    if "No module named pytest" in done.stderr:
        yield context.check("tests", None, why="pytest is not installed")
        return
    yield context.check("tests", done.returncode == 0, outcome=lines[-1], tail=lines[-40:])
