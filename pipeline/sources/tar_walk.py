"""The walk through a tar archive and the archives in it: pictures taken, all else counted."""

import os
from array import array
from collections import Counter
from typing import NamedTuple

from .kinds import EXTENSIONS, HIDDEN, is_hidden, why_no_picture
from .paths import shown
from .scan import SPECIAL as SPECIAL_FILES
from .tar_format import FILE, FOLDER, LINK, SPECIAL, Archive

LINKS = "links (in an archive they are not followed)"
UNUSABLE = "members whose names are absolute, lead upwards (..) or are empty"
UNKNOWN = "members of a kind that is not known"
COMPRESSED = "compressed files in the archive (decompress them if pictures are in them)"
TOO_LARGE = "pictures of 4 GiB or more"

_NOT_FILES = {LINK: LINKS, SPECIAL: SPECIAL_FILES}
_COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")
_HEAD = 32


class Folder(NamedTuple):
    """A folder of an archive."""

    key: str
    """What stands before the names in it: its path and "/", or nothing."""
    hidden: str
    """The part of `key` that hides what is in it, or nothing."""
    is_usable: bool
    is_open: bool
    """Usable and not hidden."""


class Walk:
    """What was met, in the order of the archive."""

    def __init__(self, file: int) -> None:
        """
        Args:
            file: descriptor of the archive.
        """
        self._file = file
        self.keys: list[str] = []
        """Of pictures. One may stand twice: the later replaces the earlier."""
        self.offsets = array("Q")
        self.lengths = array("I")
        self.folders: set[str] = set()
        """Keys of all folders, with pictures or without."""
        self._hidden: set[str] = set()
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> Counter[str]:
        """By reason. A hidden folder counts once, whatever is in it."""
        hidden = {HIDDEN: len(self._hidden)} if self._hidden else {}
        return self._left_out + Counter(hidden)

    def take(self, begin: int, end: int, *, told: str, above: str = "") -> None:
        """Take what is in an archive, and what is in archives in it, which stand for folders.

        Args:
            begin, end: of the archive in the file, bytes.
            told: how messages begin.
            above: key of the folder that the archive stands for.

        Raises: as `Archive.__iter__`.
        """
        folders: dict[str, Folder] = {}
        for encoded, kind, offset, size in Archive(self._file, begin, end, told=told):
            name = os.fsdecode(encoded)
            if kind == FOLDER:  # some writers leave out the "/" behind it
                name += "/"
            start = name.rfind("/") + 1
            way, base = name[:start], name[start:]
            folder = folders.get(way)
            if folder is None:
                folder = folders[way] = self._enter(above, way)
            if kind == FOLDER:
                continue
            if folder.is_open and not is_hidden(base) and kind == FILE:
                if name[name.rfind(".") :].lower() in EXTENSIONS:
                    self._keep(folder.key + base, offset, size)
                elif not above and base[-4:].lower() == ".tar":
                    inner = f"{folder.key}{base[:-4]}/"
                    self.folders.add(inner)
                    told_of_it = f"{told}: in its member {shown(name)}"
                    self.take(offset, offset + size, told=told_of_it, above=inner)
                else:
                    self._look(folder.key + base, offset, size)
            elif not folder.is_usable or base in ("", ".", ".."):
                self._left_out[UNUSABLE] += 1
            elif folder.hidden or is_hidden(base):
                self._hidden.add(folder.hidden or folder.key + base)
            else:
                self._left_out[_NOT_FILES.get(kind, UNKNOWN)] += 1

    def _enter(self, above: str, way: str) -> Folder:
        folder = _parse(above, way)
        if folder.is_open:
            self.folders.add(folder.key)
        return folder

    def _look(self, key: str, offset: int, size: int) -> None:
        """Take a file whose extension does not say that it is a picture, where it is one."""
        if key.lower().endswith(_COMPRESSED):
            reason = COMPRESSED
        else:
            reason = why_no_picture(key, lambda _: os.pread(self._file, min(_HEAD, size), offset))
        if reason is None:
            self._keep(key, offset, size)
        else:
            self._left_out[reason] += 1

    def _keep(self, key: str, offset: int, size: int) -> None:
        if size >> 32:
            self._left_out[TOO_LARGE] += 1
            return
        self.keys.append(key)
        self.offsets.append(offset)
        self.lengths.append(size)


def _parse(above: str, way: str) -> Folder:
    """The folder of a path that ends in "/" or is empty."""
    parts = [part for part in way.split("/") if part not in ("", ".")]
    if way.startswith("/") or ".." in parts:
        return Folder("", "", is_usable=False, is_open=False)
    hides = next((number for number, part in enumerate(parts, 1) if is_hidden(part)), 0)
    return Folder(
        key=above + "".join(f"{part}/" for part in parts),
        hidden=above + "/".join(parts[:hides]) if hides else "",
        is_usable=True,
        is_open=not hides,
    )
