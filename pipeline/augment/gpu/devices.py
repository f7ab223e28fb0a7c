"""Which devices Triton's kernels run on."""

import importlib.util
import os
import shutil
import sysconfig
from functools import cache
from pathlib import Path

import torch


@cache
def runs_triton(device: torch.device) -> bool:
    """Whether Triton is installed, can compile, and serves this device: NVIDIA, from Ampere on."""
    return (
        device.type == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and importlib.util.find_spec("triton") is not None
        and _can_compile()
    )


def _can_compile() -> bool:
    """Triton builds its way to the driver in C, where it runs, by the compiler and with the header
    that it looks for here. Many containers for torch have neither.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    header = Path(sysconfig.get_paths(scheme=scheme)["include"]) / "Python.h"
    return bool(compiler) and header.is_file()
