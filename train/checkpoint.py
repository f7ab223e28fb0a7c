"""Checkpoints that are whole or not there: temporary name, fsync, rename, checksum.

Only tensors and plain types, read with `weights_only=True`: loading one never runs code.
"""

import contextlib
import hashlib
import io
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import torch

from ..pipeline.errors import UserError

_NAME = re.compile(r"step(\d{9})\.pt")
_MAGIC = b"swiftsiam checkpoint 1\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that other processes, and the next run, see whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_checkpoint(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> Path:
    """Save under the step's name and remove all but the newest `keep`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path = folder / f"step{step:09d}.pt"
    write_atomically(path, _MAGIC + hashlib.sha256(payload).digest() + payload)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in the order of their steps."""
    return sorted(p for p in folder.glob("step*.pt") if _NAME.fullmatch(p.name))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read and check one checkpoint, onto the CPU.

    Raises:
        UserError: not a checkpoint of this project, damaged, or holding more than data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    digest_end = len(_MAGIC) + hashlib.sha256().digest_size
    payload = content[digest_end:]
    if not content.startswith(_MAGIC):
        raise UserError(f"{path}: not a checkpoint of swiftsiam; give a run folder or its stepN.pt")
    if hashlib.sha256(payload).digest() != content[len(_MAGIC) : digest_end]:
        raise UserError(f"{path}: damaged (its checksum does not match); use another checkpoint")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: refused, holds more than tensors and plain data: {reason}"
        ) from None


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest valid checkpoint; damaged ones are named and passed over. None: there is none."""
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path)
        except UserError as error:
            print(f"passed over: {error}", file=sys.stderr)
    return None


def find_checkpoint(path: Path) -> Path:
    """A checkpoint file, or the newest one of a run folder.

    Raises:
        UserError: neither.
    """
    if path.is_file():
        return path
    found = list_checkpoints(path / "checkpoints")
    if not found:
        raise UserError(f"{path}: neither a checkpoint nor a run folder with one; check the path")
    return found[-1]


def remove_leftovers(folder: Path) -> None:
    """Temporary files of a process that was killed while writing."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
