"""With what a run was made: it stands in its config.yaml and its summary.json."""

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

_PACKAGES = ("swiftsiam", "torch", "torchvision", "numba", "numpy")


def describe_versions() -> dict[str, str]:
    """Of Python, of the packages, and, from a checkout, the commit."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    commit = find_commit()
    return {
        "python": platform.python_version(),
        **versions,
        **({"commit": commit} if commit else {}),
        "cuda": torch.version.cuda or "",
    }


def describe_version(versions: Mapping[str, str] | None = None) -> str:
    """In one line.

    Args:
        versions: as `describe_versions` has told them; None: of this process.
    """
    if versions is None:
        versions = {"swiftsiam": metadata.version("swiftsiam"), "commit": find_commit() or ""}
    commit = versions.get("commit")
    return f"swiftsiam {versions['swiftsiam']}" + (f", commit {commit}" if commit else "")


@cache
def find_commit() -> str | None:
    """Of the checkout that runs; None where it is installed from a wheel, or there is no git."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # a repository that a wheel is installed in is another one
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
