"""`swiftsiam doctor`: what works on this machine, and the one command that mends what does not."""

import json
import platform
import shutil
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module, metadata

from . import engines
from .arguments import Parser
from .engines import ENGINES, EngineInfo, Need
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
        "shared memory": _shared_memory,
    }
    return [_checked(name, check) for name, check in checks.items()] + list(_examine_engines())


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # a broken library may raise anything, also on import
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return Finding(name, BROKEN, reason[0], "make setup")


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


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _try_on_gpu(name: str, info: EngineInfo) -> Finding:
    """One picture, decoded there."""
    assert info.gpu_trial is not None
    works, detail = import_module(info.gpu_trial, engines.__name__).try_decoding("cuda:0")
    if not find_library("nvcuvid"):
        detail += "; no libnvcuvid (the driver's video part): no hardware decoder"
    remedy = "" if works else "loader.device=cpu, or another loader.engine"
    return Finding(name, OK if works else BROKEN, detail, remedy)


def _numba() -> Finding:
    import numba

    from .philox import philox_4x32

    # The generator's published vector: compiles, runs and is right.
    assert philox_4x32(0, 0, 0, 0, 0, 0)[0] == 0x6627E8D5
    return Finding("numba", OK, f"numba {numba.__version__} compiles and caches")


def _examine_engines() -> Iterator[Finding]:
    """Each engine by what it needs, and what betons need besides."""
    for name, info in ENGINES.items():
        name = f"{name} engine"
        lacking = info.missing()
        if lacking:
            detail = f"{lacking[0].name} is not installed: the engine is not offered"
            yield Finding(name, MISSING, detail, lacking[0].remedy)
            continue
        yield _checked(name, partial(_try_needs, name, info.work, info.needs))
        if info.gpu_trial and _has_gpu():
            yield _checked(f"{name}, GPU", partial(_try_on_gpu, f"{name}, GPU", info))
        for need in info.needs_for_beton:
            what = f"{need.name}, for betons"
            if need.is_met():
                yield _checked(what, partial(_try_needs, what, "", (need,)))
            else:
                detail = "not installed: betons are read by the torchvision engine"
                yield Finding(what, MISSING, detail, need.remedy)


def _try_needs(name: str, work: str, needs: tuple[Need, ...]) -> Finding:
    """Import them: an installed library may still not load."""
    versions = [_version(need) for need in needs]
    return Finding(name, OK, "; ".join(text for text in (work, *versions) if text))


def _version(need: Need) -> str:
    if need.module.startswith("."):
        need.check("")
        return need.name
    loaded = import_module(need.module)
    if need.packages:
        return _package_versions(need.packages)
    try:  # what FFCV says of itself is years old
        version = metadata.version(need.module)
    except metadata.PackageNotFoundError:
        version = getattr(loaded, "__version__", "")
    return f"{need.name} {version}".strip()


def _package_versions(packages: tuple[tuple[str, str], ...]) -> str:
    """Those that are installed, as pip has them; see `Need.packages`."""
    names = [
        (distribution.metadata["Name"] or "", distribution.version)
        for distribution in metadata.distributions()
    ]
    return ", ".join(
        f"{called} {version}"
        for prefix, called in packages
        for name, version in names
        if name.lower().startswith(prefix)
    )


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
            print(f"{finding.status:<8} {finding.name:<18} {finding.detail}")
            if finding.remedy:
                print(f"{'':<8} {'':<18} to mend: {finding.remedy}")
    return int(any(finding.status == BROKEN for finding in findings))
