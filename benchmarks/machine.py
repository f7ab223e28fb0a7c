"""What a figure was measured on: it goes into every result."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from ..pipeline.errors import UserError
from ..pipeline.files import check_output
from ..pipeline.machine import num_cores
from ..train.versions import find_commit


def describe_machine() -> dict[str, Any]:
    """Hardware, versions and commit, as plain types."""
    import torch

    return {
        "cpu": _cpu_name(),
        "cores": num_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": find_commit(),
    }


_PACKAGES = ("swiftsiam", "torch", "torchvision", "numba", "ffcv", "nvidia-dali-cuda130", "Pillow")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def results_folder() -> Path:
    """benchmarks/results/<machine>: one folder for each kind of machine."""
    machine = describe_machine()
    name = machine["gpu"] or f"{machine['cpu']} {machine['cores']} cores"
    slug = "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
    return Path(__file__).parent / "results" / slug


def make_results_folder(*, field: str) -> Path:
    """`results_folder`, made before the work, since an installation may be read-only.

    Args:
        field: the option that would have named another place.
    """
    folder = results_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{field}: {folder} cannot be made ({error.strerror}); give {field}"
        ) from error
    return folder


def default_output(name: str) -> Path:
    """Where a benchmark writes that was not told by --json; tried before the work."""
    return check_output(make_results_folder(field="--json") / name, field="--json")
