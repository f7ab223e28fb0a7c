"""Checkpoints that are whole or not there: temporary name, fsync, rename, checksum.

Only tensors and plain types, read with `weights_only=True`: loading one never runs code. Each is a
file as `torch.save` writes it, which anybody's `torch.load` reads. That is a ZIP archive, and the
checksum of all of it stands in the place that the format has for a comment, at the end.
"""

import hashlib
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..pipeline.errors import UserError
from ..pipeline.files import write_atomically

_NAME = re.compile(r"step(\d{9})\.pt")
_SET_ASIDE = ".damaged"
_ZIP_END = b"PK\5\6"  # begins the last record of an archive, 22 bytes without a comment
_ZIP_END_BYTES = 22
_SEAL = b"swiftsiam checkpoint 2, sha256 "
_SEAL_BYTES = len(_SEAL) + 2 * hashlib.sha256().digest_size

# Of version 0.1.0, to be read until 1.0: its own header before the archive.
_MAGIC = b"swiftsiam checkpoint 1\n"
_HEADER_BYTES = len(_MAGIC) + hashlib.sha256().digest_size


def save_checkpoint(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> Path:
    """Save under the step's name and remove all but the newest `keep`.

    Raises:
        OSError: it could not be written; the older ones are untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step{step:09d}.pt"
    write_atomically(path, _seal(buffer.getvalue()))
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def _seal(archive: bytes) -> bytes:
    """The archive with its checksum for a comment, whose length is its last two bytes."""
    end = archive[-_ZIP_END_BYTES:]
    assert end.startswith(_ZIP_END), end
    assert end.endswith(b"\0\0"), end
    sealed = archive[:-2] + _SEAL_BYTES.to_bytes(2, "little")
    return sealed + _SEAL + hashlib.sha256(sealed).hexdigest().encode()


def _open_seal(content: bytes) -> bytes | None:
    """The archive of a file that is one of ours and whole, else None."""
    if content.startswith(_MAGIC):
        archive = content[_HEADER_BYTES:]
        is_whole = hashlib.sha256(archive).digest() == content[len(_MAGIC) : _HEADER_BYTES]
        return archive if is_whole else None
    sealed, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    is_whole = seal == _SEAL + hashlib.sha256(sealed).hexdigest().encode()
    return content if is_whole else None


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one of ours, by its name or by what it says; it may be damaged."""
    if _NAME.fullmatch(path.name.removesuffix(_SET_ASIDE)):
        return True
    with open(path, "rb") as file:
        head = file.read(len(_MAGIC))
        file.seek(max(file.seek(0, 2) - 2 * _SEAL_BYTES, 0))
        return head == _MAGIC or _SEAL in file.read()


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in the order of their steps; those that were set aside do not count."""
    return sorted(p for p in folder.glob("step*.pt") if _NAME.fullmatch(p.name))


def list_set_aside(folder: Path) -> list[Path]:
    """Damaged ones, as `load_newest` has named them."""
    return sorted(folder.glob(f"step*.pt{_SET_ASIDE}"))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read and check one checkpoint, onto the CPU.

    Raises:
        UserError: not a checkpoint of this project, damaged, or holding more than data.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); if it was just replaced by a newer one, "
            "try again"
        ) from error
    archive = _open_seal(content)
    if archive is None:
        if _NAME.fullmatch(path.name.removesuffix(_SET_ASIDE)) or _SEAL in content[-1024:]:
            raise UserError(
                f"{path}: damaged (its checksum does not match); use another checkpoint"
            )
        raise UserError(f"{path}: not a checkpoint of swiftsiam; give a run folder or its stepN.pt")
    try:
        return torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: refused, holds more than tensors and plain data: {reason}"
        ) from None


def load_newest(folder: Path, *, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest valid checkpoint; None: there is none.

    Args:
        folder: of checkpoints.
        tell: is given the name of each damaged one, which is set aside under another name.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path)
        except UserError as error:
            if isinstance(error.__cause__, OSError):  # it may be whole all the same
                raise
            aside = path.with_name(path.name + _SET_ASIDE)
            path.replace(aside)
            tell(f"set aside as {aside.name}: {error}")
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
