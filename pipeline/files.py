"""The ground floor: paths as users write them, files that are whole or not there, and locks.

Some file systems lack a service (locks on Lustre, fsync of folders on some network shares). It is
asked for, and done without where it is missing, with one warning.
"""

import contextlib
import errno
import fcntl
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from .errors import UserError

_NOT_OFFERED = frozenset(
    (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EBADF)
)
_warned: set[str] = set()
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def absolute(path: str | Path) -> Path:
    """The path with `~` expanded, from the root: it means the same from any working folder.

    Raises:
        UserError: `~name` of nobody, no home folder, an address, or a path that cannot be.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise UserError(f"{text!r}: no path can hold a NUL byte; check the path")
    if _ADDRESS.match(text):
        raise UserError(f"{text}: is an address, not a path; download it and give the folder")
    expanded = os.path.expanduser(text)  # noqa: PTH111 - Path's raises where it knows no home
    if text.startswith("~") and expanded == text:
        raise UserError(f"{text}: there is no such home folder; write the path in full")
    try:
        return Path(os.path.abspath(expanded))  # noqa: PTH100 - links are not to be resolved
    except FileNotFoundError:
        raise UserError(
            f"{text}: the working folder is gone; change to one that exists, or give the whole path"
        ) from None


def _absolute_text(path: str) -> str:
    return str(absolute(path)) if path else path


PathText = Annotated[str, AfterValidator(_absolute_text)]
"""A path in a configuration: as `absolute` has it once it is read."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that other processes, and the next run, see whole or not at all.

    Raises:
        OSError: it could not be written; the file that was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            sync(file.fileno())
        _rename_over(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the error that is under way says more
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync(handle: int) -> None:
    """fsync, where the file system can."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        _warn("fsync", "the last files may be lost in a power cut")


def _rename_over(temporary: Path, path: Path) -> None:
    """Give a file its name, which another may have, where the file system can at one stroke."""
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _NOT_OFFERED | {errno.EEXIST} or path.is_dir():
            raise
        _warn("renaming over a file", "a kill at such a moment may lose a file")
        path.unlink(missing_ok=True)
        temporary.rename(path)


def remove_leftovers(folder: Path) -> None:
    """Temporary files of a process that was killed while writing. Call it under the lock."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder last through a power cut, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to and not be listed
        return
    try:
        sync(handle)
    finally:
        os.close(handle)


class HeldElsewhereError(Exception):
    """Another process holds the lock."""


class Lock:
    """A lock on a file, for one process at a time; death gives it back."""

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: of a folder, or of a file, which is made where it is missing.

        Raises:
            HeldElsewhereError: by another process.
            OSError: the file cannot be made.
        """
        flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
        self._handle: int | None = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NOT_OFFERED:
                _warn("locks", "take care that no two processes write to one folder")
                return
            self.release()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise HeldElsewhereError from None
            raise

    def release(self) -> None:
        """Let another process have it."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _warn(service: str, consequence: str) -> None:
    if service in _warned:
        return
    _warned.add(service)
    print(
        f"warning: this file system offers no {service}; {consequence}", file=sys.stderr, flush=True
    )


def check_output(path: Path, *, field: str) -> Path:
    """Make sure, before the work, that a file can be written there later.

    Args:
        path: of the file, as `absolute` has it.
        field: the option that names it, for messages.

    Returns:
        The path.

    Raises:
        UserError: its folder is missing or cannot be written to, or it is a folder itself.
    """
    if path.is_dir():
        raise UserError(f"{field}={path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"{field}={path}: its folder does not exist; make it first")
    try:
        if path.exists():
            with open(path, "ab"):
                return path
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:40]}."):
            return path
    except OSError as error:
        raise UserError(
            f"{field}={path}: cannot be written ({error.strerror}); name another file"
        ) from error
