"""Whether a path that the user gave leads to something that can be opened, and what to do else."""

import errno
import os
import stat
from pathlib import Path

from ..errors import UserError

_ARCHIVES = frozenset((".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar"))
_LONGEST = 400
"""Characters of a name in a message."""


def shown(name: object) -> str:
    """A name for a message of one line: escaped where it would break it, cut where it fills it."""
    text = str(name)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"


def find(path: str | Path, *, field: str) -> tuple[Path, bool]:
    """A user's path, `~` expanded, and whether it is a folder (else a regular file).

    Raises:
        UserError: nothing is there, it cannot be reached, or it is neither; names a remedy.
    """
    told = f"{field}={shown(path)}"
    try:
        path = Path(path).expanduser()
        status = path.stat()
    except RuntimeError as error:  # ~name
        raise UserError(f"{told}: there is no such user's home; give the whole path") from error
    except ValueError as error:
        raise UserError(f"{told}: no path can hold a NUL byte; check the path") from error
    except OSError as error:
        raise UserError(f"{told}: {_why_not_found(Path(path), error)}") from error
    if stat.S_ISDIR(status.st_mode):
        if _is_of_the_system(path):
            raise UserError(f"{told}: a folder of the system; give a folder of class folders")
        return path, True
    if not stat.S_ISREG(status.st_mode):
        raise UserError(
            f"{told}: neither a folder nor a file, but a pipe, a socket or a device; "
            "give a folder of class folders, or a .beton file"
        )
    return path, False


def why_not_beton(path: Path) -> str:
    """What to do with a file that is no beton, in words."""
    from .kinds import why_no_picture

    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        return "not a folder but an archive; unpack it and give the folder of class folders"
    if why_no_picture(str(path)) is None:
        return (
            "not a folder but a single picture; give the folder that holds the class folders, "
            "or a folder of pictures"
        )
    return "not a folder; give a folder of class folders, or a .beton file"


def _why_not_found(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link that leads round in a circle; mend it, or give the folder itself"
    if error.errno == errno.ENAMETOOLONG:
        return "a path too long for this machine; check the path"
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return f"cannot be reached ({error.strerror}); make it readable, or check the path"
    if path.is_symlink():
        return (
            f"a link to {shown(os.path.realpath(path))}, where nothing is; mend the link, or give "
            "the folder itself"
        )
    return "there is no such file or folder; check the path"


def _is_of_the_system(path: Path) -> bool:
    real = path.resolve()
    if real.is_relative_to("/dev/shm"):  # a file system in memory, where data sets may lie
        return False
    return any(real.is_relative_to(top) for top in ("/proc", "/sys", "/dev"))
