"""The walk through a folder of pictures: links followed, circles cut, what is left out counted."""

import errno
import os
import stat
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from ..errors import UserError
from .kinds import EXTENSIONS, HIDDEN, is_hidden, why_no_picture
from .paths import shown

DANGLING = "links that lead nowhere"
CIRCLE = "links that lead back to a folder above them"
REPEATED = "links to a folder that another link of the same class leads to"
SPECIAL = "special files (pipes, sockets, devices)"
SYSTEM = "files and folders of the system (in /proc, /sys or /dev)"

_SYSTEM = ("/proc", "/sys", "/dev")
_MOST_LINKS = 40
"""Links in a row that Linux follows; more lead in a circle, or were changed just now."""


@dataclass(frozen=True)
class Folder:
    """A folder as it was reached."""

    key: str
    """Path from the root; empty for the root itself."""
    real: str
    """The same folder without any link."""
    turns: tuple[str, ...] = ()
    """Real paths of the folders whose links were followed on the way here."""

    def path_from(self, root: str) -> str:
        """Path by which it is listed."""
        return f"{root}/{self.key}" if self.key else root

    def holds_key(self, name: str) -> str:
        """Path from the root of an entry."""
        return f"{self.key}/{name}" if self.key else name


class Scan:
    """Lists pictures and folders under one root, and counts by reason what it leaves out."""

    def __init__(self, root: str, *, field: str) -> None:
        """
        Args:
            root: a folder.
            field: the configuration's field, named in errors.
        """
        self.root = root
        self.left_out: Counter[str] = Counter()
        self._field = field
        self.top = Folder(key="", real=os.path.realpath(root))
        self._real_folder = lru_cache(maxsize=4096)(os.path.realpath)
        # A root in /dev/shm is a user's; its own files are not the system's.
        self._system = tuple(top for top in _SYSTEM if not _is_within(self.top.real, top))

    def pictures(self, folder: Folder) -> list[str]:
        """Keys of the pictures in a class folder, at any depth, sorted.

        Raises:
            UserError: a folder cannot be listed; names it.
        """
        found: list[str] = []
        pending = [folder]
        # Links that cross would otherwise double the listing at each level.
        followed: set[str] = set()
        while pending:
            folder = pending.pop()
            folders, pictures = self.entries(folder)
            found += pictures
            for below in folders:
                if below.turns != folder.turns:
                    if below.real in followed:
                        self.left_out[REPEATED] += 1
                        continue
                    followed.add(below.real)
                pending.append(below)
        found.sort()
        return found

    def entries(self, folder: Folder) -> tuple[list[Folder], list[str]]:
        """The folders in a folder, sorted by name, and the keys of its pictures.

        Raises:
            UserError: it cannot be listed.
        """
        names: list[str] = []
        links: list[str] = []
        pictures: list[str] = []
        try:
            with os.scandir(folder.path_from(self.root)) as entries:
                for entry in entries:
                    name = entry.name
                    if is_hidden(name):
                        self.left_out[HIDDEN] += 1
                    elif entry.is_file(follow_symlinks=False):  # known without asking the disk
                        self._take(folder.holds_key(name), pictures)
                    elif entry.is_symlink():
                        links.append(name)
                    elif entry.is_dir(follow_symlinks=False):
                        names.append(name)
                    else:  # would block a reader for ever
                        self.left_out[SPECIAL] += 1
        except OSError as error:
            raise self._cannot_be_listed(folder, error) from error
        folders = self._plain(folder, names)
        for name in links:
            self._follow(folder, name, folders=folders, pictures=pictures)
        # Sorted, or the disk's order would decide which of two links to a folder is followed.
        return sorted(folders, key=lambda below: below.key), pictures

    def _take(self, key: str, pictures: list[str]) -> None:
        if key[key.rfind(".") :].lower() in EXTENSIONS:
            pictures.append(key)
            return
        reason = why_no_picture(f"{self.root}/{key}")
        if reason is None:
            pictures.append(key)
        else:
            self.left_out[reason] += 1

    def _plain(self, folder: Folder, names: list[str]) -> list[Folder]:
        """The folders that are no links."""
        above = folder.real.rstrip("/")
        folders = [
            Folder(key=folder.holds_key(name), real=f"{above}/{name}", turns=folder.turns)
            for name in names
        ]
        kept = [below for below in folders if below.real not in self._system]
        self._count(SYSTEM, len(folders) - len(kept))
        return kept

    def _follow(
        self, folder: Folder, name: str, *, folders: list[Folder], pictures: list[str]
    ) -> None:
        """Put what a link leads to where it belongs."""
        key = folder.holds_key(name)
        path = f"{self.root}/{key}"
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 (Path objects are slow, and links many)
        except OSError as error:
            self.left_out[_why_not_followed(error)] += 1
            return
        is_file = stat.S_ISREG(mode)
        real = self._real_file(folder, name) if is_file else os.path.realpath(path)
        if self._is_of_the_system(real):
            self.left_out[SYSTEM] += 1
        elif is_file:
            self._take(key, pictures)
        elif not stat.S_ISDIR(mode):
            self.left_out[SPECIAL] += 1
        elif any(_is_within(place, real) for place in (folder.real, *folder.turns)):
            self.left_out[CIRCLE] += 1
        else:
            folders.append(Folder(key=key, real=real, turns=(*folder.turns, folder.real)))

    def _real_file(self, folder: Folder, name: str) -> str:
        """`realpath` of a link to a file, folders remembered: such links come by the million."""
        above = folder.real
        for _ in range(_MOST_LINKS):
            try:
                target = os.readlink(f"{above}/{name}")  # noqa: PTH115
            except OSError:  # no link any more: the end of the way
                break
            way, slash, name = target.rpartition("/")
            if target.startswith("/"):
                above = self._real_folder(way or "/")
            elif slash:
                above = self._real_folder(f"{above}/{way}")
        return f"{above}/{name}"

    def _is_of_the_system(self, real: str) -> bool:
        return real in self._system or real.startswith(tuple(f"{top}/" for top in self._system))

    def _count(self, reason: str, count: int) -> None:
        if count:
            self.left_out[reason] += count

    def _cannot_be_listed(self, folder: Folder, error: OSError) -> UserError:
        what = f"its folder {shown(folder.key)} cannot" if folder.key else "cannot"
        remedy = "make it readable (chmod u+rx) or move it away"
        if not isinstance(error, PermissionError):
            remedy = "start again when nothing is being moved or removed there"
        return UserError(
            f"{self._field}={shown(self.root)}: {what} be listed ({error.strerror}); {remedy}"
        )


def _is_within(path: str, top: str) -> bool:
    """Whether a real path is `top` or lies below it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def _why_not_followed(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return CIRCLE
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return DANGLING
    return f"links that cannot be followed ({error.strerror})"
