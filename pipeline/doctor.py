"""`swiftsiam doctor`: what works on this machine, and the one command that mends what does not."""

import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata

from .arguments import Parser
from .machine import num_cores

OK, MISSING, BROKEN = "ok", "missing", "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    status: str
    """ok, missing (optional) or broken (must be mended)."""
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything; nothing raises, whatever is broken is reported."""
    checks: dict[str, Callable[[], Finding]] = {
        "machine": _machine,
        "torch": _torch,
        "gpu": _gpu,
        "numba": _numba,
        "dali": _dali,
        "ffcv": _ffcv,
        "shared memory": _shared_memory,
    }
    findings = []
    for name, check in checks.items():
        try:
            findings.append(check())
        except Exception as error:  # a broken library may raise anything, also on import
            reason = str(error).strip().splitlines() or [type(error).__name__]
            findings.append(Finding(name, BROKEN, reason[0], "make setup"))
    return findings


def _machine() -> Finding:
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 1e6
    detail = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{num_cores()} cores, {memory:.0f} GB of memory"
    )
    return Finding("machine", OK, detail)


def _torch() -> Finding:
    import torch
    import torchvision

    # Wheels of different builds import, and fail at the first operator.
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    return Finding("torch", OK, f"torch {torch.__version__}, torchvision {torchvision.__version__}")


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", MISSING, "no CUDA device: training runs on the CPU")
    count = torch.cuda.device_count()
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    return Finding("gpu", OK, f"{count} x {torch.cuda.get_device_name()}, {memory:.0f} GB")


def _numba() -> Finding:
    import numba

    from .philox import philox_4x32

    # The generator's published vector: compiles, runs and is right.
    assert philox_4x32(0, 0, 0, 0, 0, 0)[0] == 0x6627E8D5
    return Finding("numba", OK, f"numba {numba.__version__} compiles and caches")


def _dali() -> Finding:
    try:
        from nvidia.dali import __version__
    except ModuleNotFoundError:
        remedy = "pip install nvidia-dali-cuda130 (x86-64 Linux; -cuda120 for older drivers)"
        return Finding("dali", MISSING, "not installed: the dali engine is not offered", remedy)
    return Finding("dali", OK, f"DALI {__version__}")


def _ffcv() -> Finding:
    try:
        import ffcv  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "ffcv":
            raise
        remedy = "sudo apt-get install -y libopencv-dev libturbojpeg0-dev pkg-config && make setup"
        return Finding("ffcv", MISSING, "not installed: the ffcv engine is not offered", remedy)
    from . import turbojpeg

    if not turbojpeg.is_installed():
        remedy = "sudo apt-get install -y libturbojpeg0-dev"
        return Finding("ffcv", MISSING, "libturbojpeg is not installed, and it decodes", remedy)
    return Finding("ffcv", OK, f"FFCV {metadata.version('ffcv')}, with libturbojpeg")


def _shared_memory() -> Finding:
    free = shutil.disk_usage("/dev/shm").free / 1e9
    if free < 1:
        detail = (
            f"{free:.2f} GB free in /dev/shm: loader workers die of a bus error when it is full"
        )
        remedy = "in a container: docker run --shm-size=8g (or --ipc=host)"
        return Finding("shared memory", BROKEN, detail, remedy)
    return Finding("shared memory", OK, f"{free:.1f} GB free in /dev/shm")


def main(argv: list[str]) -> int:
    """Print the report; 1 when something must be mended, else 0."""
    parser = Parser(prog="swiftsiam doctor", description="Say what works on this machine.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    args = parser.parse_args(argv)
    findings = examine()
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.status:<8} {finding.name:<14} {finding.detail}")
            if finding.remedy:
                print(f"{'':<8} {'':<14} to mend: {finding.remedy}")
    return int(any(finding.status == BROKEN for finding in findings))
