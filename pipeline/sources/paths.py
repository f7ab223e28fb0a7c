"""Whether a path that the user gave leads to something that can be opened, and what to do else."""

import errno
import os
import re
import stat
from pathlib import Path

from ..errors import UserError

_ARCHIVES = frozenset((".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar"))
_COMPRESSED_TAR = re.compile(
    r"\.(tgz|tbz2?|txz|tzst|tar\.(gz|bz2|xz|zst|lz4|lzma|Z))$", re.IGNORECASE
)
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"\x04\x22\x4d\x18": "unlz4",
}
"""How a compressed file begins, and the command that decompresses it."""

_DECOMPRESS = (
    "a compressed archive, in which no picture can be read by itself; decompress it ({command}) "
    "and give the .tar"
)
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
            "give a folder of class folders, or a file (.beton, .tar, .parquet)"
        )
    return path, False


def why_not_beton(path: Path) -> str:
    """What to do with a file that is no beton, in words."""
    from .kinds import why_no_picture

    if _COMPRESSED_TAR.search(path.name):
        return _DECOMPRESS.format(command="gunzip, bunzip2, unxz or unzstd")
    if path.suffix.lower() in _ARCHIVES:
        return "not a folder but an archive; unpack it and give the folder of class folders"
    if why_no_picture(str(path)) is None:
        return (
            "not a folder but a single picture; give the folder that holds the class folders, "
            "or a folder of pictures"
        )
    return (
        "no data set that is known; give a folder of class folders, a .beton, .tar or .parquet "
        "file, or a folder of shards"
    )


def why_compressed(head: bytes) -> str | None:
    """What to do with an archive that is compressed, in words; None where it is not.

    Args:
        head: its first bytes, 6 at least.
    """
    for start, command in _COMPRESSED.items():
        if head.startswith(start):
            return _DECOMPRESS.format(command=command)
    return None


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
